"""Grading a folder of plain notebooks, beside nbgrader: three trivial cells each, and no container."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from tests.bench.measure import Row, seconds
from tests.support.daemons import Daemon

NOTEBOOKS = 20
_CHECKS = '''
from labkernel.course import Lab, check, fail

@check
def right(lab: Lab) -> None:
    """The answer is right."""
    if (lab.directory / "answer.txt").read_text() != "42":
        fail("it is another")
'''


def plain_notebooks(daemons: dict[str, Daemon], place: Path) -> list[Row]:
    """The whole command, for 20 notebooks of whom none has been graded: the seconds for each."""
    ours, theirs = Ours(place / "grading"), NbGrader(place / "nbgrader")
    try:
        ours.grade(0)  # the engine is started, which then stays
        samples = {
            "labkernel": [ours.grade(number) / NOTEBOOKS for number in range(1, 6)],
            "nbgrader": [theirs.grade() / NOTEBOOKS],
        }
    finally:
        ours.close()
    return [Row(f"grading {NOTEBOOKS} plain notebooks, each", samples, goals={"nbgrader": 100})]


class Ours:
    """`labkernel grade`, with an engine of its own."""

    def __init__(self, place: Path) -> None:
        self._place = place
        solution = place / "plain"
        solution.mkdir(parents=True)
        (solution / "checks.py").write_text(_CHECKS)
        source = "### BEGIN SOLUTION\nx = 6 * 7\n### END SOLUTION"
        _write(solution / "plain.ipynb", source, "%check right", {"labkernel": {"engine": False}})
        for name in _learners():
            (place / "submissions" / name).mkdir(parents=True)
            _write(place / "submissions" / name / "plain.ipynb", "x = 42", "")
        self._environment = {**os.environ, "LABKERNEL_ROOT": str(place / "root")}
        self._command = [sys.executable, "-m", "labkernel"]

    def grade(self, number: int) -> float:
        out = self._place / f"out{number}"
        command = [*self._command, "grade", "submissions", "--assignment", "plain", "--out", str(out)]
        taken = seconds(lambda: _run(command, self._place, self._environment))
        assert len(list((out / "results").iterdir())) == NOTEBOOKS
        return taken

    def close(self) -> None:
        _run([*self._command, "engine", "stop"], self._place, self._environment)


class NbGrader:
    """`nbgrader autograde`, installed on top of the packages that are here, where these do not see it."""

    def __init__(self, place: Path) -> None:
        self._place = place / "course"
        for name in _learners():
            (self._place / "submitted" / name / "plain").mkdir(parents=True)
            _write(self._place / "submitted" / name / "plain" / "plain.ipynb", "x = 42", _ASSERT)
        (self._place / "source" / "plain").mkdir(parents=True)
        source = "### BEGIN SOLUTION\nx = 6 * 7\n### END SOLUTION"
        _write(self._place / "source" / "plain" / "plain.ipynb", source, _ASSERT)
        environment = place / "environment"
        _run([sys.executable, "-m", "venv", str(environment)], place)
        [packages] = environment.glob("lib/python*/site-packages")
        (packages / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
        pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        _run([*pip, "--disable-pip-version-check", "nbgrader"], place)
        self._programs = environment / "bin"
        self._call("generate_assignment")

    def grade(self) -> float:
        taken = seconds(lambda: self._call("autograde"))
        graded = list((self._place / "autograded").glob("*/plain/plain.ipynb"))
        assert len(graded) == NOTEBOOKS
        return taken

    def _call(self, word: str) -> None:
        # Its data base and its notebooks are the course's; nothing of the user's is read or written.
        environment = {
            **os.environ,
            "HOME": str(self._place),
            "PATH": f"{self._programs}:{os.environ['PATH']}",
        }
        program = str(self._programs / "nbgrader")
        _run([program, word, "plain", "--log-level=ERROR"], self._place, environment)


_ASSERT = "from pathlib import Path\nassert Path('answer.txt').read_text() == '42'"


def _learners() -> list[str]:
    return [f"learner{number:02}" for number in range(NOTEBOOKS)]


def _write(path: Path, answer: str, check: str, metadata: dict[str, Any] | None = None) -> None:
    """A notebook of an answer, a given cell that writes it down, and a check."""
    part = {"schema_version": 3, "task": False}
    cells = [
        ("answer", answer, {"solution": True, "grade": False, "locked": False}),
        (
            "write",
            "from pathlib import Path\n_ = Path('answer.txt').write_text(str(x))",
            {"solution": False, "grade": False, "locked": True},
        ),
        ("right", check, {"solution": False, "grade": True, "locked": True, "points": 1}),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": None,
                "id": name,
                "metadata": {"nbgrader": {"grade_id": name, **flags, **part}},
                "outputs": [],
                "source": source,
            }
            for name, source, flags in cells
        ],
        "metadata": {"kernelspec": kernel, **(metadata or {})},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(notebook))


def _run(command: list[str], directory: Path, environment: dict[str, str] | None = None) -> None:
    ended = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)}: {ended.stdout}{ended.stderr}")
