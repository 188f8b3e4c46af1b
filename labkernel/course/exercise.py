"""An exercise: a directory with a notebook, its checks in `checks.py`, and files.

The notebook's cells carry nbgrader's metadata. A cell of a check has its name as `grade_id` and its `points`;
its hints are beside that, in `labkernel.hints`. The instructor's directory and the learner's look the same.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkernel.commands import CommandError
from labkernel.commands.errors import nearest
from labkernel.course import places
from labkernel.course.check import Check

CHECKS = "checks.py"


@dataclass(frozen=True)
class Exercise:
    """`name` is that of the directory, as 01-web-base; `checks` are in the order of `checks.py`."""

    name: str
    directory: Path
    notebook: Path
    checks: tuple[Check, ...]
    cells: Mapping[str, Mapping[str, Any]]
    """The metadata of the notebook's check cells, by the check's name."""

    def points(self, check: str) -> float:
        """What the check is worth; 0 where the notebook has no cell for it."""
        points = self.cells.get(check, {}).get("nbgrader", {}).get("points", 0)
        return points if isinstance(points, int | float) else 0

    def hints(self, check: str) -> tuple[str, ...]:
        """What the notebook says to who does not get on, from faint to plain."""
        hints = self.cells.get(check, {}).get("labkernel", {}).get("hints", [])
        return tuple(hint for hint in hints if isinstance(hint, str))


def find_exercise(word: str | None = None, start: Path | None = None) -> Exercise:
    """The exercise of a directory, or by its number (3, 03), name (web-app) or both (03-web-app).

    Looked for in `start` (the current directory), the `exercises` beside it and above it, the learner's
    ~/labkernel, and at last among the course's own. Raises CommandError.
    """
    start = (start or Path.cwd()).absolute()
    if word is None:
        if not (start / CHECKS).is_file():
            raise CommandError(
                "this directory holds no exercise",
                where=str(start),
                hint="name one, by number or directory: labkernel check 01",
            )
        return load_exercise(start)
    directory = start / Path(word).expanduser()
    if (directory / CHECKS).is_file():
        return load_exercise(directory)
    known: dict[str, Path] = {}
    for place in _places(start):
        for directory in _exercises(place):
            known.setdefault(directory.name, directory)
    wanted = re.sub(r"^\d$", r"0\g<0>", word)
    for name, directory in known.items():
        number, _, title = name.partition("-")
        if wanted in (name, number, title):
            return load_exercise(directory)
    near = nearest(word, known)
    raise CommandError(
        f"there is no exercise {word}",
        where=str(start),
        hint=f"did you mean {near}?" if near else f"exercises: {', '.join(sorted(known)) or 'none here'}",
    )


def _places(start: Path) -> Iterator[Path]:
    for directory in (start, *start.parents):
        yield directory / "exercises"
    yield start
    yield Path.home() / "labkernel" / "exercises"
    yield places.exercises()


def _exercises(place: Path) -> list[Path]:
    if not os.access(place, os.R_OK | os.X_OK) or not place.is_dir():
        return []
    return sorted(path for path in place.iterdir() if (path / CHECKS).is_file())


def load_exercise(directory: Path) -> Exercise:
    """Read an exercise's notebook and checks. Raises CommandError, which says what is wrong with them."""
    directory = directory.absolute()
    notebook = _notebook(directory)
    return Exercise(
        name=directory.name,
        directory=directory,
        notebook=notebook,
        checks=_load_checks(directory),
        cells=_check_cells(notebook),
    )


def _notebook(directory: Path) -> Path:
    """The one with the directory's name, else the first."""
    found = sorted(directory.glob("*.ipynb"))
    if not found:
        raise CommandError(
            "this exercise has no notebook",
            where=str(directory),
            hint=f"it should be named {directory.name}.ipynb",
        )
    return next((path for path in found if path.stem == directory.name), found[0])


def _check_cells(notebook: Path) -> dict[str, Mapping[str, Any]]:
    try:
        cells = json.loads(notebook.read_bytes())["cells"]
        metadata = [cell["metadata"] for cell in cells]
        return {
            data["nbgrader"]["grade_id"]: data for data in metadata if data.get("nbgrader", {}).get("grade")
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CommandError(
            f"this is not a notebook: {type(error).__name__}: {error}",
            where=str(notebook),
            hint="get a fresh copy of the exercise",
        ) from None


def _load_checks(directory: Path) -> tuple[Check, ...]:
    path = directory / CHECKS
    specification = importlib.util.spec_from_file_location(f"labkernel_checks_{directory.name}", path)
    if specification is None or specification.loader is None or not path.is_file():
        raise CommandError(
            f"this exercise has no {CHECKS}", where=str(directory), hint="get a fresh copy of it"
        )
    module = importlib.util.module_from_spec(specification)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a learner's directory stays as it is
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        raise CommandError(
            f"{CHECKS} cannot be loaded: {type(error).__name__}: {error}",
            where=str(path),
            hint="get a fresh copy of the exercise",
        ) from None
    finally:
        sys.dont_write_bytecode = before
    return tuple(value for value in vars(module).values() if isinstance(value, Check))
