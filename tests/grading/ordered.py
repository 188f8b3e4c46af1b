"""Orders for `sandbox_program`: a small exercise, the submissions, and what came of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.grading.conftest import Grader

CHECKS = '''
"""Checks of a small exercise."""
from labkernel.course import Lab, check, fail

@check
def web(lab: Lab) -> None:
    """A server answers on port 8080."""
    if "root" not in lab.get(8080, "/passwd", patience=2):
        fail("the server does not serve /etc/passwd")

@check(after=web)
def image(lab: Lab) -> None:
    """The container web is there, and the image me/x."""
    lab.running("web")
    lab.image("me/x")

@check
def base(lab: Lab) -> None:
    """What was prepared is there."""
    if lab.run(lab.image("me/base"), ["cat", "/hi"]).output != "hi\\n":
        fail("me/base holds something else")

@check
def file(lab: Lab) -> None:
    """The learner's file."""
    if (lab.directory / "a.txt").read_text() != "changed":
        fail("a.txt is not changed")
'''
LOAD = "%load_ext labkernel"


def order(grader: Grader, submissions: Mapping[str, Sequence[str]], **others: Any) -> Path:
    """What `sandbox_program` is to do, in a file; `others` replaces parts of it."""
    place = grader.place
    exercise, files = place / "01-x", place / "files"
    exercise.mkdir()
    files.mkdir()
    (files / "a.txt").write_text("as given")
    (exercise / "checks.py").write_text(others.pop("checks", CHECKS))
    cells: list[Any] = []
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}
    (exercise / "01-x.ipynb").write_text(json.dumps(notebook))
    written = {
        "work": str(place / "work"),
        "network": False,
        "files": str(files),
        "exercise": str(exercise),
        "limits": {"cell_seconds": 15, "memory": 1 << 30, "processes": 100},
        "images": ["busybox"],
        "setup": [LOAD, "%%dockerfile -t me/base\nFROM busybox\nRUN echo hi > /hi"],
        "submissions": submissions,
        **others,
    }
    (place / "order.json").write_text(json.dumps(written))
    grader.give(place)
    return place / "order.json"


def run(grader: Grader, path: Path) -> dict[str, Any]:
    """What came of an order, by submission; nothing of it is left."""
    code, stdout, stderr = grader.run("tests.grading.sandbox_program", [str(path)])
    assert code == 0, stderr
    assert list((grader.place / "work").iterdir()) == []
    found: dict[str, Any] = json.loads(stdout)
    return found
