"""All submissions: what is kept, what is done again, and what an interruption leaves."""

from __future__ import annotations

import csv
import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from labkernel.commands import CommandError
from labkernel.grading.assignment import load_assignment
from labkernel.grading.grade import Grading, grade
from labkernel.grading.sandbox import SandboxError
from labkernel.grading.submissions import find_submissions
from tests.grading.stand_in import Boxes
from tests.grading.submitted import ASSIGNMENT, CHECKS, answered, write_notebook

GRADED = load_assignment(str(ASSIGNMENT))
ALL = {"build": "pass image", "run": "pass container", "visit": "pass visited"}


class Classroom:
    """A folder of submissions, graded with a stand-in for the sandboxes."""

    def __init__(self, place: Path) -> None:
        self.submissions = place / "submissions"
        self.out = place / "out"
        self.submissions.mkdir()
        self.said: list[str] = []
        self.assignment = GRADED

    def hand_in(self, learner: str, **answers: str) -> None:
        write_notebook(self.submissions / f"{learner}.ipynb", answered(answers))

    def grade(self, *, jobs: int = 2, boxes: Boxes | None = None, say: Any = None) -> Grading:
        self.boxes = boxes or Boxes()
        return grade(
            self.assignment,
            find_submissions(self.submissions),
            self.out,
            jobs=jobs,
            say=say or self.said.append,
            open_boxes=self.boxes.for_assignment,
        )

    def result(self, learner: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "results" / f"{learner}.json").read_text())
        return {check["name"]: (check["outcome"], check["points"]) for check in found["checks"]}

    def gradebook(self) -> dict[str, dict[str, str]]:
        with (self.out / "gradebook.csv").open(newline="") as file:
            return {row["learner"]: row for row in csv.DictReader(file)}


@pytest.fixture
def room(tmp_path: Path) -> Classroom:
    return Classroom(tmp_path)


def test_results_and_gradebook(room: Classroom) -> None:
    room.hand_in("ann", **ALL)
    room.hand_in("bob", build="pass image")
    (room.submissions / "eve.ipynb").write_text("no notebook")
    grading = room.grade()
    assert grading.exit_code == 0
    assert room.result("bob") == {
        "image": ("pass", 2),
        "container": ("fail", 0),
        "page": ("fail", 0),
        "visited": ("fail", 0),
    }
    unread = json.loads((room.out / "results" / "eve.json").read_text())
    assert {name: unread[name] for name in ("learner", "state", "reason", "points", "max_points")} == {
        "learner": "eve",
        "state": "unreadable",
        "reason": "it is not a notebook: not JSON at line 1, column 1",
        "points": 0,
        "max_points": 7,
    }
    assert (room.out / "feedback" / "eve.html").read_text().count("not JSON at line 1") == 1
    rows = room.gradebook()
    assert [(name, row["points"], row["max_points"], row["state"]) for name, row in rows.items()] == [
        ("ann", "4", "7", "graded"),
        ("bob", "2", "7", "graded"),
        ("eve", "0", "7", "unreadable"),
    ]
    assert [rows["bob"][check] for check in CHECKS] == ["2", "0", "0", "0"]
    assert sorted(path.name for path in (room.out / "feedback").iterdir()) == [
        *("ann.html", "bob.html", "eve.html"),
    ]
    assert sorted(line.split(", ")[0].split(" ", 1)[1] for line in room.said) == [
        *("ann: 4 of 7", "bob: 2 of 7", "eve: 0 of 7 (unreadable)"),
    ]


def test_only_what_is_left_is_done(room: Classroom) -> None:
    """Nothing the second time; then what is new, what was changed, and what lost its result."""
    for learner in ("ann", "bob", "carl", "dan"):
        room.hand_in(learner, **ALL)
    room.grade()
    assert len(room.boxes.opened) == 4
    before = (room.out / "gradebook.csv").read_bytes()
    room.grade()
    assert room.boxes.opened == []
    assert room.said[-1] == "4 of 4 were graded before"
    assert (room.out / "gradebook.csv").read_bytes() == before
    room.hand_in("ann", build="pass image")
    (room.out / "results" / "bob.json").unlink()
    (room.submissions / "carl.ipynb").unlink()
    room.hand_in("eve")
    room.grade()
    assert len(room.boxes.opened) == 3
    assert {name: row["points"] for name, row in room.gradebook().items()} == {
        "ann": "2",
        "bob": "4",
        "dan": "4",
        "eve": "0",
    }


def test_another_assignment_grades_all_again(room: Classroom, tmp_path: Path) -> None:
    room.hand_in("ann", **ALL)
    room.grade()
    solution = tmp_path / "assignment"
    shutil.copytree(ASSIGNMENT, solution)
    room.assignment = load_assignment(str(solution))
    room.grade()
    assert room.boxes.opened == []
    (solution / "page" / "index.html").write_text("another")
    room.assignment = load_assignment(str(solution))
    room.grade()
    assert len(room.boxes.opened) == 1


def test_grades_of_another_exercise_stay(room: Classroom, tmp_path: Path) -> None:
    room.hand_in("ann", **ALL)
    room.grade()
    before = {path: path.read_bytes() for path in room.out.rglob("*") if path.is_file()}
    other = tmp_path / "09-other"
    shutil.copytree(ASSIGNMENT, other)
    (other / "assignment.ipynb").rename(other / "09-other.ipynb")
    room.assignment = load_assignment(str(other))
    with pytest.raises(CommandError, match="this folder holds grades of assignment"):
        room.grade()
    assert {path: path.read_bytes() for path in room.out.rglob("*") if path.is_file()} == before


def test_a_notebook_of_another_exercise_is_no_plain_zero(room: Classroom) -> None:
    """Its first cells may have the names of ours, and its checks too; one answer of ours makes it ours."""
    room.hand_in("ann", **ALL)
    for learner, names in {"bob": ["other", "others", "another"], "carl": ["build", "x", "y"]}.items():
        notebook = answered({})
        of_answers = [
            cell["metadata"]["nbgrader"]
            for cell in notebook["cells"]
            if cell["metadata"].get("nbgrader", {}).get("solution")
        ]
        for part, name in zip(of_answers, names, strict=True):
            part["grade_id"] = name
        write_notebook(room.submissions / f"{learner}.ipynb", notebook)
    room.grade()
    assert {name: row["state"] for name, row in room.gradebook().items()} == {
        "ann": "graded",
        "bob": "unreadable",
        "carl": "graded",
    }
    assert "none of the exercise&#x27;s cells" in (room.out / "feedback" / "bob.html").read_text()


@pytest.mark.parametrize("answer", ["error the disk is full", "bug in our own code", "break container"])
def test_an_error_of_ours_is_no_zero_and_is_done_again(room: Classroom, answer: str) -> None:
    room.hand_in("ann", **ALL)
    room.hand_in("bob", build="pass image", run=answer)
    assert room.grade().exit_code == 2
    row = room.gradebook()["bob"]
    assert (row["points"], row["state"], row["container"], row["visited"]) == (
        *("", "error", ""),
        "0" if answer.startswith("break") else "",
    )
    assert room.result("bob")["container"] == ("error", None)
    assert room.gradebook()["ann"]["points"] == "4"
    assert any(line.startswith("bob: an error of ours: ") for line in (s.split(" ", 1)[1] for s in room.said))
    room.grade()
    assert [box.ran[3] for box in room.boxes.opened] == [answer]


def test_a_submission_that_we_cannot_read(room: Classroom) -> None:
    """It vanishes between finding and reading, or the disk fails: ours, and not the learner's."""
    room.hand_in("ann", **ALL)
    found = find_submissions(room.submissions)
    (room.submissions / "ann.ipynb").unlink()
    grading = grade(GRADED, found, room.out, jobs=1, say=room.said.append, open_boxes=Boxes().for_assignment)
    assert grading.exit_code == 2
    assert set(room.result("ann").values()) == {("error", None)}


def test_no_sandbox_at_all(room: Classroom) -> None:
    """Nothing is graded, nobody gets a zero, and it is said."""
    room.hand_in("ann", **ALL)

    class None_(Boxes):
        def for_assignment(self, *_: Any) -> Any:
            raise SandboxError("there are no namespaces here", "use another machine")

    with pytest.raises(CommandError) as raised:
        room.grade(boxes=None_())
    assert raised.value.text == (
        "no submission can be run here: there are no namespaces here\nhint:  use another machine"
    )
    assert raised.value.exit_code == 2
    assert not (room.out / "gradebook.csv").exists()
    assert list((room.out / "results").iterdir()) == []


def test_interrupted(room: Classroom) -> None:
    """What is finished stays, what runs is cancelled and is no result, and the next run does the rest."""
    for learner in ("ann", "bob"):
        room.hand_in(learner, **ALL)
    for learner in ("carl", "dan", "eve", "fay"):
        room.hand_in(learner, build="pass image", run="wait")
    boxes = Boxes()

    def interrupt_when_two_are_done(words: str) -> None:
        room.said.append(words)
        if words.startswith("2/"):
            assert boxes.waiting.acquire(timeout=10)
            assert boxes.waiting.acquire(timeout=10)
            raise KeyboardInterrupt

    begun = time.monotonic()
    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        room.grade(boxes=boxes, say=interrupt_when_two_are_done)
    assert time.monotonic() - begun < 5
    assert threading.active_count() == threads
    assert len(boxes.opened) == 4
    assert sorted(path.stem for path in (room.out / "results").iterdir()) == ["ann", "bob"]
    states = {name: row["state"] for name, row in room.gradebook().items()}
    assert states == dict.fromkeys(("ann", "bob"), "graded") | dict.fromkeys(
        ("carl", "dan", "eve", "fay"), "pending"
    )
    again = Boxes()
    again.cancel()
    room.grade(boxes=again)
    assert len(again.opened) == 4


def test_a_result_is_there_as_soon_as_it_is_done(room: Classroom) -> None:
    room.hand_in("ann", **ALL)
    room.hand_in("bob", build="wait")
    boxes = Boxes()
    seen: list[str] = []

    def look(words: str) -> None:
        seen.extend(path.stem for path in (room.out / "results").iterdir())
        boxes.cancel()

    room.grade(boxes=boxes, say=look)
    assert seen[0] == "ann"


def test_a_disk_without_room_is_said(room: Classroom) -> None:
    """A result that cannot be written is not lost silently."""
    room.hand_in("ann", **ALL)
    room.grade()
    room.hand_in("ann", build="pass image")
    (room.out / ".state" / "new" / "results-ann.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        room.grade()
    assert room.gradebook()["ann"]["state"] == "pending"
