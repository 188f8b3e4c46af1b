"""What is graded: the instructor's solution of an exercise, and what its notebook says of how it is to run.

The metadata of its notebook may hold, in `labkernel`: `network` (true: answers need a way out), `engine`
(false: they need no containers), `images` (those of the engine here that they start from; else those of the
catalog that are mentioned), and `limits` (see `Limits`; memory and disk also as "512m").
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkernel.commands import CommandError
from labkernel.commands.errors import CATALOG_NAMES, nearest
from labkernel.commands.units import parse_size
from labkernel.course import Exercise, load_exercise
from labkernel.course.assignment import find_solution, make_assignment
from labkernel.course.files import files
from labkernel.course.notebook import read_notebook
from labkernel.course.release import released
from labkernel.grading.digest import digest
from labkernel.grading.rebuild import Cell, instructor_cells
from labkernel.grading.sandbox import Limits


@dataclass(frozen=True)
class Assignment:
    """`exercise` is the instructor's: its directory has the solutions in it. `digest` changes with them."""

    exercise: Exercise
    cells: tuple[Cell, ...]
    limits: Limits
    engine: bool
    network: bool
    images: tuple[str, ...]
    digest: str

    @property
    def setup(self) -> list[str]:
        """The cells that are run once for everybody: those that prepare, and given ones above them."""
        last = max((number for number, cell in enumerate(self.cells, 1) if cell.kind == "setup"), default=0)
        return [cell.source for cell in self.cells[:last] if cell.kind in ("setup", "given")]

    def write_files(self, place: Path) -> Path:
        """What a submission finds in its directory: the exercise's files, as they are handed out, below
        `place`. Raises CommandError for a solution that cannot be handed out.
        """
        made = make_assignment(self.exercise.directory, place).exercise
        made.notebook.unlink()
        (made.directory / "checks.py").unlink()
        return made.directory


def load_assignment(word: str) -> Assignment:
    """The solution of that number, name or directory. Raises CommandError, which says what is wrong."""
    exercise = load_exercise(find_solution(word))
    notebook = read_notebook(exercise.notebook)
    content = {str(name): (exercise.directory / name).read_bytes() for name in files(exercise.directory)}
    try:
        settings = _settings(notebook["metadata"].get("labkernel", {}))
        limits = _limits(settings["limits"])
    except ValueError as error:
        raise CommandError(
            f"the notebook's metadata cannot be used: {error}", where=str(exercise.notebook)
        ) from None
    return Assignment(
        exercise,
        instructor_cells(released(notebook)),
        limits,
        engine=settings["engine"],
        network=settings["network"],
        images=tuple(_mentioned(content.values()) if settings["images"] is None else settings["images"]),
        digest=digest(*(part for name in content for part in (name.encode(), content[name]))),
    )


def _settings(given: Any) -> dict[str, Any]:
    """What the metadata says, with what holds where it says nothing. Raises ValueError."""
    if not isinstance(given, dict):
        raise ValueError("labkernel should be an object")
    settings = {"network": False, "engine": True, "images": None, "limits": {}, **given}
    for name in ("network", "engine"):
        if not isinstance(settings[name], bool):
            raise ValueError(f"labkernel.{name} should be true or false, and is {settings[name]!r}")
    images = settings["images"]
    if images is not None and not (
        isinstance(images, list) and all(isinstance(name, str) and name for name in images)
    ):
        raise ValueError(f"labkernel.images should be a list of names, and is {images!r}")
    if not isinstance(settings["limits"], dict):
        raise ValueError("labkernel.limits should be an object")
    return settings


def _limits(given: Mapping[str, Any]) -> Limits:
    """Raises ValueError."""
    known = [field.name for field in dataclasses.fields(Limits)]
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            near = nearest(name, known)
            more = f"did you mean {near}?" if near else f"there are {', '.join(known)}"
            raise ValueError(f"there is no limit {name}: {more}")
        found[name] = parse_size(value) if isinstance(value, str) else value
        if isinstance(value, bool) or not isinstance(found[name], int | float) or found[name] <= 0:
            raise ValueError(f"the limit {name} should be a number above 0, and is {value!r}")
        if not name.endswith("seconds"):
            found[name] = int(found[name])
    return Limits(**found)


def _mentioned(contents: Iterable[bytes]) -> list[str]:
    """The images of the catalog whose names are in the exercise's files."""
    return [
        name
        for name in CATALOG_NAMES
        if any(re.search(rb"(?<![\w/.-])%s(?![\w/-])" % name.encode(), content) for content in contents)
    ]
