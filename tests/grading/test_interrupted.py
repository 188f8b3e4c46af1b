"""A grader that is interrupted, then killed, then let finish: nothing is lost, done twice or left running."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from tests.grading.conftest import Grader
from tests.grading.submitted import ASSIGNMENT, RIGHT, answered, write_notebook
from tests.support.room import wait_until

SLOW = {**RIGHT, "run": f"import time\ntime.sleep(3)\n{RIGHT['run']}"}
LEARNERS = {"ann": RIGHT, "bob": RIGHT, "carl": SLOW, "dan": SLOW}


def start(grader: Grader) -> int:
    (grader.place / "stderr").unlink(missing_ok=True)
    command = ["grade", str(grader.place / "submissions"), "--assignment", str(ASSIGNMENT)]
    return grader.start(
        "tests.grading.from_a_terminal", [*command, "--out", str(grader.place / "out"), "--jobs", "2"]
    )


def said(grader: Grader) -> str:
    path = grader.place / "stderr"
    return path.read_text() if path.exists() else ""


def results(grader: Grader) -> dict[str, float]:
    """When each result was written."""
    return {path.stem: path.stat().st_mtime for path in (grader.place / "out" / "results").glob("*.json")}


def is_running_the_slow_ones(grader: Grader) -> bool:
    return "2/" in said(grader) and len(grader.engine.client().api.containers()) == 2


def test_interrupted(grader: Grader) -> None:
    (grader.place / "submissions").mkdir()
    for learner, answers in LEARNERS.items():
        write_notebook(grader.place / "submissions" / f"{learner}.ipynb", answered(answers))
    grader.give(grader.place)
    before = {command for _, command in grader.engine.room.left()}

    pid = start(grader)
    assert any(is_running_the_slow_ones(grader) for _ in wait_until(60))
    os.killpg(pid, signal.SIGINT)
    assert grader.engine.room.wait(pid, 5) == 130
    assert (
        (grader.place / "stderr")
        .read_text()
        .endswith("stopped; the same command does what is left: 2 of 4\n")
    )
    first = results(grader)
    assert set(first) == {"ann", "bob"}
    assert grader.engine.docker("ps", "-aq").stdout == ""
    assert {command for _, command in grader.engine.room.left()} - before == set()
    assert list((grader.place / "out" / ".state" / "work").iterdir()) == []

    pid = start(grader)
    assert any("once for all" in said(grader) for _ in wait_until(60))
    assert any(grader.engine.client().api.containers() for _ in wait_until(60))
    os.kill(pid, signal.SIGKILL)
    grader.engine.room.wait(pid, 5)

    pid = start(grader)
    assert grader.engine.room.wait(pid, 100) == 0
    assert said(grader).startswith("2 of 4 were graded before\n")
    last = results(grader)
    assert set(last) == set(LEARNERS)
    assert {learner: last[learner] for learner in first} == first
    for learner in LEARNERS:
        result = json.loads((grader.place / "out" / "results" / f"{learner}.json").read_text())
        assert {check["outcome"] for check in result["checks"]} == {"pass"}
    assert grader.engine.docker("ps", "-aq").stdout == ""
    assert {command for _, command in grader.engine.room.left()} - before == set()
    assert list(Path(grader.place, "out", ".state", "work").iterdir()) == []
