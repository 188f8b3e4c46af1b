"""Notebooks of the course as data: reading, writing, and what each cell is for.

A notebook is a dict, as the JSON in its file has it (nbformat 4). nbgrader's metadata says what a cell is
for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from labkernel.commands import CommandError

Kind = Literal["answer", "check", "given"]
"""answer: the learner writes it; check: it runs the check whose name it has; given: it is ours and locked."""

_KINDS: Mapping[tuple[bool, bool, bool], Kind] = {
    # solution, grade, locked
    (True, False, False): "answer",
    (False, True, True): "check",
    (False, False, True): "given",
}


def read_notebook(path: Path) -> dict[str, Any]:
    """Raises CommandError, which says why the file is no notebook."""
    try:
        notebook = json.loads(path.read_bytes())
        problem = _problem(notebook)
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
    except (ValueError, RecursionError) as error:
        problem = str(error)
    if problem:
        raise CommandError(f"this is not a notebook: {problem}", where=str(path))
    return notebook  # type: ignore[no-any-return]


def _problem(notebook: Any) -> str | None:
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        return "it has no cells"
    if notebook.get("nbformat") != 4:
        return "its format is not version 4"
    for number, cell in enumerate(notebook["cells"], 1):
        whole = (
            isinstance(cell, dict)
            and cell.get("cell_type") in ("code", "markdown", "raw")
            and isinstance(cell.get("metadata"), dict)
            and (isinstance(cell.get("source"), str) or _is_lines(cell.get("source")))
            and all(isinstance(cell["metadata"].get(key, {}), dict) for key in ("nbgrader", "labkernel"))
        )
        if not whole:
            return f"cell {number} is none"
    return None if isinstance(notebook.get("metadata"), dict) else "it has no metadata"


def _is_lines(source: Any) -> bool:
    return isinstance(source, list) and all(isinstance(line, str) for line in source)


def notebook_text(notebook: Mapping[str, Any]) -> str:
    """The file's content, in the form that Jupyter writes."""
    return json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def source(cell: Mapping[str, Any]) -> str:
    """A cell's source as one text; a file has it as text or as lines."""
    return cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])


def grading(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    """nbgrader's part of a cell's metadata; empty where there is none."""
    part: Mapping[str, Any] = cell["metadata"].get("nbgrader", {})
    return part


def grade_id(cell: Mapping[str, Any]) -> str | None:
    """The cell's name within its notebook."""
    name = grading(cell).get("grade_id")
    return name if isinstance(name, str) else None


def kind(cell: Mapping[str, Any]) -> Kind | None:
    """What the cell is for; None for one without nbgrader's metadata, or with any that makes no sense."""
    part = grading(cell)
    flags = [part.get(name, False) for name in ("solution", "grade", "locked", "task")]
    if not part or not all(isinstance(flag, bool) for flag in flags) or flags[3]:
        return None
    return _KINDS.get((flags[0], flags[1], flags[2]))
