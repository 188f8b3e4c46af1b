"""The notebook that runs: the instructor's, with nothing of the submission but its answers. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from labkernel.course.notebook import grade_id, kind, source
from labkernel.grading.submissions import Unreadable

MOST_VALUES = 3_000_000
"""Values in a notebook's JSON: in memory each takes some 60 bytes, on the disk three may do."""

Kind = Literal["setup", "given", "answer", "check"]
"""setup: run once for everybody; given: the instructor's, run for each; check: its check is run there."""


@dataclass(frozen=True)
class Cell:
    """A code cell. `name` is its grade_id, for a check cell the check's name; "" where it has none."""

    kind: Kind
    name: str
    source: str


def instructor_cells(notebook: Mapping[str, Any]) -> tuple[Cell, ...]:
    """The code cells of a notebook as it is given to learners: an answer's source is the stub."""
    return tuple(
        Cell(_kind(cell), grade_id(cell) or "", source(cell))
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    )


def _kind(cell: Mapping[str, Any]) -> Kind:
    lines = source(cell).split("\n")
    # An extension is loaded into one process: for everybody it has to be done again.
    loads = all(line.startswith("%load_ext ") for line in lines if line.strip())
    if cell["metadata"].get("labkernel", {}).get("setup") and not loads:
        return "setup"
    return kind(cell) or "given"


def rebuilt(cells: tuple[Cell, ...], answers: Mapping[str, str]) -> tuple[Cell, ...]:
    """The cells with the learner's answers in their places; one that is missing stays as it was given."""
    return tuple(
        replace(cell, source=answers.get(cell.name, cell.source)) if cell.kind == "answer" else cell
        for cell in cells
    )


def answers(data: bytes) -> dict[str, str]:
    """The sources of a submission's code cells by grade_id, where two have the same one, of the first.

    Whether a cell is an answer is for the instructor's notebook to say. Raises Unreadable.
    """
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > MOST_VALUES:
        raise Unreadable(f"it holds more than {MOST_VALUES // 1_000_000} million values")
    try:
        notebook = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it is not a notebook: {_json_problem(error)}") from None
    if isinstance(notebook, dict) and "worksheets" in notebook:
        raise Unreadable("it is a notebook of an old format: open it in Jupyter and save it again")
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise Unreadable("it is not a notebook: it has no cells")
    found: dict[str, str] = {}
    for cell in cells:
        name = _grade_id(cell)
        if name is not None:
            found.setdefault(name, _source(cell))
    return found


def demand_cells(cells: tuple[Cell, ...], found: Mapping[str, str]) -> None:
    """Raises Unreadable for a notebook that has none of the exercise's answers: it is one of something else.

    Names of other cells are no sign: most exercises begin alike, and check an image.
    """
    wanted = [cell.name for cell in cells if cell.kind == "answer"]
    if wanted and not any(name in found for name in wanted):
        raise Unreadable("none of the exercise's cells for answers is in it: it may be of another exercise")


def _json_problem(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON at line {error.lineno}, column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return "not text"
    return "its values are too deep in each other" if isinstance(error, RecursionError) else "not JSON"


def _grade_id(cell: Any) -> str | None:
    """The cell's grade_id, None where it is no code cell with one, whatever else it is."""
    try:
        name = cell["metadata"]["nbgrader"]["grade_id"] if cell["cell_type"] == "code" else None
    except (KeyError, TypeError, IndexError):
        return None
    return name if isinstance(name, str) else None


def _source(cell: Mapping[str, Any]) -> str:
    """A cell's source, in one piece; half a surrogate pair is no character that could be passed on."""
    source = cell.get("source", "")
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    return source.encode("utf-8", "replace").decode() if isinstance(source, str) else ""
