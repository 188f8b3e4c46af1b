"""What is found in a folder of submissions, and what is refused without being read."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from labkernel.commands import CommandError
from labkernel.grading.submissions import (
    LARGEST,
    Submission,
    Unreadable,
    find_submissions,
    read_submission,
)


def read(path: Path) -> bytes:
    return read_submission(Submission("x", path), "01-web-base")


def refused(path: Path) -> str:
    """Why it is; in a second at most, since a pipe or a device could keep its reader."""
    found: list[str] = []

    def attempt() -> None:
        with pytest.raises(Unreadable) as raised:
            read(path)
        found.append(raised.value.reason)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(1)
    [reason] = found
    return reason


def test_everybody_is_found(tmp_path: Path) -> None:
    """Notebooks, folders and what is neither; hidden files are nobody's."""
    for name in ("ann.ipynb", "Bob.IPYNB", "eve.pdf", ".DS_Store", "._ann.ipynb"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "carl v.").mkdir()
    (tmp_path / "dan").mkdir()
    (tmp_path / ".ipynb_checkpoints").mkdir()
    found = {
        submission.learner.partition("-")[0]: submission.path.name
        for submission in find_submissions(tmp_path)
    }
    assert found == {
        "ann": "ann.ipynb",
        "Bob": "Bob.IPYNB",
        "carl v": "carl v.",
        "dan": "dan",
        "eve": "eve.pdf",
    }


@pytest.mark.parametrize(
    "make", [lambda path: path.mkdir(), lambda path: None, lambda path: path.write_text("")]
)
def test_no_submissions(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "folder"
    make(folder)
    with pytest.raises(CommandError) as raised:
        find_submissions(folder)
    assert raised.value.hint
    assert raised.value.where == str(folder)


def test_the_notebook_in_a_folder(tmp_path: Path) -> None:
    """The one named as the assignment, else the only one, else it is said."""
    assert refused(tmp_path) == "there is no notebook in the folder"
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.ipynb").write_text("hidden")
    (tmp_path / "mine.ipynb").write_text("mine")
    assert read(tmp_path) == b"mine"
    (tmp_path / "second\n.ipynb").write_text("second")
    assert refused(tmp_path) == (
        "there are 2 notebooks, and none is named 01-web-base.ipynb: mine.ipynb, second\\n.ipynb"
    )
    (tmp_path / "01-web-base.ipynb").write_text("named")
    assert read(tmp_path) == b"named"


def test_nbgraders_folders(tmp_path: Path) -> None:
    (tmp_path / "01-web-base").mkdir()
    (tmp_path / "01-web-base" / "01-web-base.ipynb").write_text("there")
    assert read(tmp_path) == b"there"


def test_what_is_no_file_is_refused_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ipynb")
    (tmp_path / "link.ipynb").symlink_to("/etc/passwd")
    (tmp_path / "folder").symlink_to(tmp_path)
    (tmp_path / "directory.ipynb").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.ipynb").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.ipynb"))
    assert refused(tmp_path / "pipe.ipynb") == "it is a named pipe"
    assert refused(tmp_path / "link.ipynb") == "it is a symbolic link"
    assert refused(tmp_path / "folder") == "it is a symbolic link"
    assert refused(tmp_path / "socket.ipynb") == "it is a socket"
    assert refused(tmp_path / "directory.ipynb") == "there is no notebook in the folder"
    assert refused(tmp_path / "in") == "it is a folder"
    assert refused(Path("/dev/zero")) == "it is a device"


def test_size(tmp_path: Path) -> None:
    path = tmp_path / "x.ipynb"
    path.write_bytes(b"")
    assert refused(path) == "it is empty"
    os.truncate(path, LARGEST)
    assert len(read(path)) == LARGEST
    os.truncate(path, LARGEST + 1)
    assert refused(path) == "it is larger than 50 MB"
    os.truncate(path, 1 << 40)  # a file of holes
    assert refused(path) == "it is larger than 50 MB"


def test_what_keeps_us_from_reading_is_not_the_learners_doing(tmp_path: Path) -> None:
    """A file that vanished, or a disk that fails, is an error of ours: OSError, not Unreadable."""
    with pytest.raises(OSError, match="No such file"):
        read(tmp_path / "gone.ipynb")
