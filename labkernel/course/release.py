"""From the instructor's notebook to the learner's: solutions out, stubs in, outputs cleared. Pure."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from labkernel.course.notebook import grade_id, grading, kind, source

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
STUB = "# YOUR CODE HERE"
"""What stands in place of a solution: a comment in Python, in a Dockerfile and in a shell."""

SCHEMA = 3
"""The version of nbgrader's metadata."""
_MARK = re.compile(r"#*\s*(begin|end)\s+solution\b.*", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_OF_A_RUN = ("execution", "collapsed", "scrolled", "ExecuteTime")


def released(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """The notebook as learners get it. It must have no `problems`."""
    made: dict[str, Any] = copy.deepcopy(dict(notebook))
    made["metadata"].pop("widgets", None)
    if "language_info" in made["metadata"]:  # a run adds the version of the Python that it was done with
        made["metadata"]["language_info"] = {"name": made["metadata"]["language_info"]["name"]}
    for cell in made["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
        for key in _OF_A_RUN:
            cell["metadata"].pop(key, None)
        if kind(cell) == "answer":
            cell["source"] = without_solutions(source(cell)).splitlines(keepends=True)
            cell["metadata"]["deletable"] = False  # so that an answer is not lost by a slip
        elif kind(cell):
            cell["metadata"] |= {"editable": False, "deletable": False}
    return made


def without_solutions(text: str) -> str:
    """A cell's source with a stub in place of each region, as far to the right as that began."""
    kept: list[str] = []
    inside = False
    for line in text.split("\n"):
        if line.strip() == BEGIN:
            inside = True
            kept.append(line[: len(line) - len(line.lstrip())] + STUB)
        elif line.strip() == END:
            inside = False
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def problems(notebook: Mapping[str, Any], checks: Collection[str]) -> list[str]:
    """What is wrong with an instructor's notebook whose exercise has these checks; each names the cell."""
    found: list[str] = []
    if not notebook["metadata"].get("kernelspec", {}).get("name"):
        found.append("the notebook names no kernel (kernelspec): Jupyter would ask each learner for one")
    seen: set[str] = set()
    with_cell: set[str] = set()
    for number, cell in enumerate(notebook["cells"], 1):
        name = grade_id(cell)
        label = f"cell {number}" + (f" ({name})" if name else "")
        found += [f"{label}: {problem}" for problem in _of_cell(cell, checks)]
        if name in seen:
            found.append(f"{label}: another cell has the same grade_id")
        if name:
            seen.add(name)
            if kind(cell) == "check":
                with_cell.add(name)
    return found + [f"the check {name} has no cell" for name in checks if name not in with_cell]


def _of_cell(cell: Mapping[str, Any], checks: Collection[str]) -> Iterator[str]:
    part, purpose, name = grading(cell), kind(cell), grade_id(cell)
    if part:
        if purpose is None:
            flags = ", ".join(f"{flag} {part.get(flag)}" for flag in ("solution", "grade", "locked", "task"))
            yield f"its nbgrader metadata is that of no answer, check or given cell: {flags}"
        if not name or not _NAME.fullmatch(name):
            yield "its grade_id should be a name of letters, digits, _ and -"
        if part.get("schema_version") != SCHEMA:
            yield f"its schema_version should be {SCHEMA}, and is {part.get('schema_version')}"
    yield from _of_regions(cell)
    if purpose == "answer" and cell["cell_type"] != "code":
        yield "an answer is a code cell"
    if purpose == "check":
        yield from _of_check(cell, str(name), checks)
    ours = cell["metadata"].get("labkernel", {})
    if ours.get("setup") and (purpose != "given" or cell["cell_type"] != "code"):
        yield "only a given code cell can be setup"


def _of_check(cell: Mapping[str, Any], name: str, checks: Collection[str]) -> Iterator[str]:
    if name not in checks:
        yield f"there is no check {name}"
    if cell["cell_type"] != "code" or source(cell).strip() != f"%check {name}":
        yield f"the cell of a check holds one line: %check {name}"
    points = grading(cell).get("points")
    if isinstance(points, bool) or not isinstance(points, int | float) or points < 0:
        yield f"its points should be a number, and are {points}"
    hints = cell["metadata"].get("labkernel", {}).get("hints", [])
    if not isinstance(hints, list) or not all(isinstance(hint, str) and hint.strip() for hint in hints):
        yield "its hints should be a list of texts"


def _of_regions(cell: Mapping[str, Any]) -> Iterator[str]:
    """Each region begins and ends; an answer has one at least; nothing else has any."""
    begun = 0
    count = 0
    for number, line in enumerate(source(cell).split("\n"), 1):
        text = line.strip()
        if text == BEGIN:
            if begun:
                yield f"line {number}: a solution begins within the one of line {begun}"
            begun, count = number, count + 1
        elif text == END:
            if not begun:
                yield f"line {number}: a solution ends that has not begun"
            begun = 0
        elif _MARK.fullmatch(text):
            yield f"line {number}: the marks are exactly `{BEGIN}` and `{END}`, and not `{text}`"
    if begun:
        yield f"line {begun}: the solution does not end: {END} is missing"
    if count and kind(cell) != "answer":
        yield "only an answer has solutions"
    if not count and kind(cell) == "answer":
        yield f"an answer has its solution between {BEGIN} and {END}"
