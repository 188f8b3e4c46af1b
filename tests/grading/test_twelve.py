"""Twelve submissions, from right to hostile, graded twice: right, the same both times, in bounded time."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.grading.conftest import Grader
from tests.grading.submitted import ASSIGNMENT, CHECKS, POINTS, RIGHT, answered, as_given, write_notebook

LOOP = "import time\nwhile True: time.sleep(1)"  # one that spins is in test_sandbox, and is enough
MEMORY = "taken = []\nwhile True: taken.append(bytearray(10 << 20))"
FORK = "import os\nwhile True: os.fork()"
GIGABYTE = f"{RIGHT['visit']}\nimport sys\nfor _ in range(1 << 10): sys.stdout.write('y' * (1 << 20))"


def edits_the_checks() -> dict[str, Any]:
    """The build is right; the rest is claimed."""
    notebook = answered({"build": RIGHT["build"]})
    for cell in notebook["cells"]:
        nbgrader = cell["metadata"].get("nbgrader", {})
        if nbgrader.get("grade"):
            nbgrader |= {"points": 100, "solution": True, "locked": False}
            cell["source"] = "%docker run -d --name site busybox sleep 1000\nprint('passed')"
        if nbgrader.get("grade_id") == "base":
            cell["source"] = "import os\nos._exit(0)"
    return notebook


def deletes_cells() -> dict[str, Any]:
    """What is left is the build and the visit."""
    notebook = answered(RIGHT)
    kept = ("build", "visit")
    notebook["cells"] = [
        cell for cell in notebook["cells"] if cell["metadata"].get("nbgrader", {}).get("grade_id") in kept
    ]
    return notebook


NOTEBOOKS = {
    "right": answered(RIGHT),
    "half": answered({**RIGHT, "run": "%docker run -d --name site -p 8081:80 me/site"}),
    "wrong": answered(
        {"build": "%%dockerfile -t me/site\nFROM busybox", "run": "raise ValueError", "visit": "("}
    ),
    "empty": as_given(),
    "loop": answered({**RIGHT, "run": LOOP}),
    "memory": answered({**RIGHT, "visit": MEMORY}),
    "fork": answered({**RIGHT, "visit": FORK}),
    "gigabyte": answered({**RIGHT, "visit": GIGABYTE}),
    "edits": edits_the_checks(),
    "deletes": deletes_cells(),
}
FILES = {
    "nulls": json.dumps(answered(RIGHT)).encode().replace(b"\\n", b"\x00\x00"),
    "picture": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
}

PASS, FAIL, SKIP = "pass", "fail", "skipped"
_NO_CONTAINER = "there is no container site"
_NO_LOG = "the log of site should name /base.html, and does not"
_NULLS = "it is not a notebook: not JSON at line 1, column 89"
_EARLY = "the run had ended before"
# learner -> state, outcome of each check, message of the first that does not pass
EXPECTED = {
    "right": ("graded", [PASS, PASS, PASS, PASS], ""),
    "half": (
        *("graded", [PASS, PASS, FAIL, PASS]),
        "http://localhost:8080/ does not answer: nothing listens there",
    ),
    "wrong": (
        *("graded", [FAIL, SKIP, SKIP, SKIP]),
        "/www/index.html in me/site should say Hello, and does not",
    ),
    "empty": ("graded", [FAIL, SKIP, SKIP, SKIP], "there is no image me/site; there is me/base"),
    "loop": (
        *("ended", [PASS, FAIL, SKIP, SKIP]),
        f"{_NO_CONTAINER} ({_EARLY}: a cell took longer than 20 s)",
    ),
    "memory": (
        *("ended", [PASS, PASS, PASS, FAIL]),
        f"{_NO_LOG} ({_EARLY}: used more than 1024 MiB of memory)",
    ),
    "fork": (
        *("ended", [PASS, PASS, PASS, FAIL]),
        f"{_NO_LOG} ({_EARLY}: started too many processes (150 are the limit))",
    ),
    "gigabyte": ("graded", [PASS, PASS, PASS, PASS], ""),
    "edits": ("graded", [PASS, FAIL, SKIP, SKIP], _NO_CONTAINER),
    "deletes": ("graded", [PASS, FAIL, SKIP, SKIP], _NO_CONTAINER),
    "nulls": ("unreadable", [FAIL] * 4, _NULLS),
    "picture": ("unreadable", [FAIL] * 4, "it is not a notebook: not text"),
}
LONGEST = 200
"""Seconds for all of them, three at a time: far above what it takes, far below what a hang would."""


def write_submissions(place: Path) -> None:
    """Half of them are notebooks, half are folders with one."""
    place.mkdir()
    for number, (learner, notebook) in enumerate(NOTEBOOKS.items()):
        if number % 2:
            (place / learner).mkdir()
            write_notebook(place / learner / "assignment.ipynb", notebook)
        else:
            write_notebook(place / f"{learner}.ipynb", notebook)
    for learner, content in FILES.items():
        (place / f"{learner}.ipynb").write_bytes(content)


def graded(grader: Grader, out: str) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The results by learner, and the gradebook."""
    place = grader.place / out
    command = ["grade", str(grader.place / "submissions"), "--assignment", str(ASSIGNMENT)]
    code, stdout, stderr = grader.run(
        "labkernel", [*command, "--out", str(place), "--jobs", "3"], timeout=LONGEST
    )
    assert code == 0, stdout + stderr
    assert len(stdout.splitlines()) == len(EXPECTED) + 3
    results = {path.stem: json.loads(path.read_text()) for path in (place / "results").iterdir()}
    with (place / "gradebook.csv").open(newline="") as file:
        return results, list(csv.DictReader(file))


@pytest.mark.parametrize("grader", ["user_engine"], indirect=True)
def test_twelve(grader: Grader) -> None:
    write_submissions(grader.place / "submissions")
    grader.give(grader.place)
    results, gradebook = graded(grader, "first")
    states = {row["learner"]: row["state"] for row in gradebook}
    found = {
        learner: (
            states[learner],
            [check["outcome"] for check in result["checks"]],
            result["reason"] * (states[learner] == "unreadable")
            or next((check["message"] for check in result["checks"] if check["outcome"] != PASS), ""),
        )
        for learner, result in results.items()
    }
    assert found == EXPECTED
    for row in gradebook:
        _, outcomes, _ = EXPECTED[row["learner"]]
        points = [POINTS[check] * (outcome == PASS) for check, outcome in zip(CHECKS, outcomes, strict=True)]
        assert [row[check] for check in CHECKS] == [str(amount) for amount in points]
        assert (row["points"], row["max_points"]) == (str(sum(points)), "7")
    again = graded(grader, "second")
    for learner, result in results.items():
        assert again[0][learner] == result
    assert again == (results, gradebook)
