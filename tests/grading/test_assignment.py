"""What the instructor's notebook says of how submissions are run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from labkernel.commands import CommandError
from labkernel.grading.assignment import Assignment, load_assignment
from labkernel.grading.sandbox import Limits
from tests.grading.submitted import ASSIGNMENT


@pytest.fixture
def solution(tmp_path: Path) -> Path:
    shutil.copytree(ASSIGNMENT, tmp_path / "assignment")
    return tmp_path / "assignment"


def say(solution: Path, settings: Any) -> Assignment:
    path = solution / "assignment.ipynb"
    notebook = json.loads(path.read_text())
    notebook["metadata"]["labkernel"] = settings
    path.write_text(json.dumps(notebook))
    return load_assignment(str(solution))


def test_what_holds_where_nothing_is_said(solution: Path) -> None:
    found = say(solution, {})
    assert (found.network, found.engine, found.limits) == (False, True, Limits())
    assert found.images == ("busybox",)


def test_what_is_said(solution: Path) -> None:
    limits = {"cell_seconds": 1.5, "memory": "512m", "processes": 50}
    found = say(solution, {"network": True, "engine": False, "images": ["me/x"], "limits": limits})
    assert (found.network, found.engine, found.images) == (True, False, ("me/x",))
    assert found.limits == Limits(cell_seconds=1.5, memory=512 << 20, processes=50)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ([], "labkernel should be an object"),
        ({"network": 1}, "labkernel.network should be true or false, and is 1"),
        ({"images": "busybox"}, "labkernel.images should be a list of names, and is 'busybox'"),
        ({"limits": {"cell_second": 1}}, "there is no limit cell_second: did you mean cell_seconds?"),
        ({"limits": {"memory": "much"}}, "invalid size: 'much'"),
        ({"limits": {"seconds": 0}}, "the limit seconds should be a number above 0, and is 0"),
        ({"limits": {"seconds": True}}, "the limit seconds should be a number above 0, and is True"),
    ],
)
def test_what_makes_no_sense(solution: Path, settings: Any, words: str) -> None:
    with pytest.raises(CommandError) as raised:
        say(solution, settings)
    assert words in raised.value.what


def test_images_that_are_mentioned(solution: Path) -> None:
    """In the notebook or in a file; not as a part of another name."""
    (solution / "page" / "Dockerfile").write_text("FROM golang:latest\nADD http://x/debian /not-debian\n")
    assert load_assignment(str(solution)).images == ("busybox", "golang")


def test_setup_and_the_given_cells_above_it() -> None:
    assert load_assignment(str(ASSIGNMENT)).setup == [
        "%load_ext labkernel",
        "%%dockerfile -t me/base\nFROM busybox\nRUN mkdir /www && echo given > /www/base.html",
    ]


def test_the_files_of_a_submission(tmp_path: Path) -> None:
    """Those that are handed out, without solutions and checks."""
    directory = load_assignment(str(ASSIGNMENT)).write_files(tmp_path)
    found = [str(path.relative_to(directory)) for path in sorted(directory.rglob("*"))]
    assert found == ["page", "page/index.html"]


def test_the_digest_changes_with_all_that_matters(solution: Path) -> None:
    digests = [load_assignment(str(solution)).digest]
    assert load_assignment(str(ASSIGNMENT)).digest == digests[0]
    for change in (
        lambda: (solution / "checks.py").open("a").write("\n# changed\n"),
        lambda: (solution / "page" / "index.html").rename(solution / "page" / "other.html"),
        lambda: say(solution, {"limits": {"seconds": 99}}),
    ):
        change()
        digests.append(load_assignment(str(solution)).digest)
    assert len(set(digests)) == 4
