"""What was handed in: found in a folder, and read without trusting that it is what it should be."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from labkernel.commands import CommandError
from labkernel.grading.learners import learner_names

LARGEST = 50 << 20
"""Bytes of a notebook."""
_SUFFIX = ".ipynb"
_SHOWN = 5  # names in a message


class Unreadable(Exception):
    """The submission cannot be read; `reason` goes into a message to the learner."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Submission:
    """`path` is the learner's entry among the submissions: a notebook or a folder, or something else."""

    learner: str
    path: Path


def find_submissions(folder: Path) -> list[Submission]:
    """One for each entry that is not hidden, by learner. A file that is no notebook is somebody's, too.

    Raises CommandError.
    """
    try:
        with os.scandir(folder) as found:
            entries = sorted(entry.name for entry in found if not entry.name.startswith("."))
    except OSError as error:
        raise CommandError(
            f"the submissions cannot be read: {(error.strerror or str(error)).lower()}",
            where=str(folder),
            hint="name a folder with one notebook, or one folder, for each learner",
        ) from None
    if not entries:
        raise CommandError(
            "there are no submissions",
            where=str(folder),
            hint="put one notebook, or one folder, for each learner there",
        )
    called = [name if _is_folder(folder / name) else os.path.splitext(name)[0] for name in entries]
    learners = learner_names(list(zip(called, entries, strict=True)))
    found_there = [
        Submission(learner, folder / name) for learner, name in zip(learners, entries, strict=True)
    ]
    return sorted(found_there, key=lambda submission: (submission.learner.casefold(), submission.learner))


def read_submission(submission: Submission, assignment: str) -> bytes:
    """The learner's notebook as it is on the disk.

    In a folder it is the one with the assignment's name, else the only one; nbgrader's folder of the
    assignment in the folder of the learner is looked into, too. Raises Unreadable; OSError, where it is not
    the learner's doing.
    """
    path = submission.path
    if not _is_folder(path):
        return _read(path)
    name = assignment + _SUFFIX
    for folder in (path, path / assignment):
        notebooks = _notebooks(folder)
        if name in notebooks:
            return _read(folder / name)
        if len(notebooks) == 1:
            return _read(folder / notebooks[0])
        if notebooks:
            shown = ", ".join(ascii(notebook)[1:-1] for notebook in notebooks[:_SHOWN])
            more = ", ..." if len(notebooks) > _SHOWN else ""
            raise Unreadable(f"there are {len(notebooks)} notebooks, and none is named {name}: {shown}{more}")
    raise Unreadable("there is no notebook in the folder")


def _notebooks(folder: Path) -> list[str]:
    if not _is_folder(folder):
        return []
    with os.scandir(folder) as found:
        names = [entry.name for entry in found]
    return sorted(name for name in names if name.lower().endswith(_SUFFIX) and not name.startswith("."))


def _is_folder(path: Path) -> bool:
    """Whether it is a directory itself, and no link to one."""
    return path.is_dir() and not path.is_symlink()


_KINDS = {
    stat.S_IFLNK: "it is a symbolic link",
    stat.S_IFIFO: "it is a named pipe",
    stat.S_IFSOCK: "it is a socket",
    stat.S_IFCHR: "it is a device",
    stat.S_IFBLK: "it is a device",
    stat.S_IFDIR: "it is a folder",
}


def _read(path: Path) -> bytes:
    """A regular file's content. To open a device may do something: what it is, is looked at first."""
    _demand_regular(os.lstat(path))
    # Should it have been exchanged since: follow no link, wait for nobody at the other end of a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        _demand_regular(found)
        if found.st_size > LARGEST:
            raise Unreadable(f"it is larger than {LARGEST >> 20} MB")
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise Unreadable(f"it is larger than {LARGEST >> 20} MB")
    if not data:
        raise Unreadable("it is empty")
    return data


def _demand_regular(found: os.stat_result) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind != stat.S_IFREG:
        raise Unreadable(_KINDS.get(kind, "it is not a file"))
