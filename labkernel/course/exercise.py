"""An exercise: a directory with a notebook, its checks in `checks.py`, and files.

The notebook's cells carry nbgrader's metadata. A cell of a check has its name as `grade_id` and its `points`;
its hints are beside that, in `labkernel.hints`. The instructor's directory and the learner's look the same.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkernel.commands import CommandError
from labkernel.commands.errors import nearest
from labkernel.course import places
from labkernel.course.check import Check
from labkernel.course.notebook import grade_id, kind, read_notebook

CHECKS = "checks.py"
FRESH_COPY = "`labkernel lab` brings a fresh copy of a file of an exercise, once the old one is moved away"


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

    def require(self, checks: Iterable[str]) -> None:
        """Raises CommandError for a name that none of the checks has: with the nearest."""
        known = [check.name for check in self.checks]
        for name in checks:
            if name not in known:
                near = nearest(name, known)
                raise CommandError(
                    f"{self.name} has no check {name}",
                    hint=f"did you mean {near}?" if near else f"its checks: {', '.join(known)}",
                )


def find_exercise(word: str | None = None, start: Path | None = None) -> Exercise:
    """The exercise of a directory, or by its number (3, 03), name (web-app) or both (03-web-app).

    Looked for in `start` (the current directory), the `exercises` beside it and above it, the learner's own
    directory, and at last among the course's own. Raises CommandError.
    """
    start = (start or Path.cwd()).absolute()
    if word is None:
        if not (start / CHECKS).is_file():
            raise CommandError(
                "this directory holds no exercise",
                where=str(start),
                hint="an exercise is checked in its own directory, or by its name: labkernel check 01",
            )
        return load_exercise(start)
    return load_exercise(named(word, _places(start), "exercise", start))


def named(word: str, places: Iterable[Path], what: str, start: Path | None = None) -> Path:
    """The directory that `word` names: a path from `start`, or a number, name or both in one of `places`.

    `what` is what it should be, for the message. Raises CommandError.
    """
    directory = (start or Path.cwd()) / os.path.expanduser(word)
    if directory.suffix == ".ipynb":
        directory = directory.parent
    if (directory / CHECKS).is_file():
        return directory
    known: dict[str, Path] = {}
    for place in places:
        for directory in exercises_in(place):
            known.setdefault(directory.name, directory)
    wanted = re.sub(r"^\d$", r"0\g<0>", word)
    for name, directory in known.items():
        number, _, title = name.partition("-")
        if wanted in (name, number, title):
            return directory
    near = nearest(word, [*known, *(name.partition("-")[2] for name in known)])
    raise CommandError(
        f"there is no {what} {word}",
        where=str(start or Path.cwd()),
        hint=f"did you mean {near}?" if near else f"{what}s: {', '.join(sorted(known)) or 'none here'}",
    )


def _places(start: Path) -> Iterator[Path]:
    for place in (*(directory / "exercises" for directory in (start, *start.parents)), start):
        # Checks are programs: those that another user left in /tmp/exercises are not to be run.
        if os.path.isdir(place) and place.stat().st_uid in (0, os.geteuid()):
            yield place
    yield places.learners() / "exercises"
    yield places.exercises()


def exercises_in(place: Path) -> list[Path]:
    """The directories in `place` that hold checks, by name."""
    if not os.access(place, os.R_OK | os.X_OK) or not place.is_dir():
        return []
    return sorted(path for path in place.iterdir() if (path / CHECKS).is_file())


def load_exercise(directory: Path) -> Exercise:
    """Read an exercise's notebook and checks. Raises CommandError, which says what is wrong with them."""
    directory = Path(os.path.abspath(directory))  # a name is needed, and `..` is none
    notebook = _notebook(directory)
    return Exercise(
        name=directory.name,
        directory=directory,
        notebook=notebook,
        checks=_load_checks(directory),
        cells=_check_cells(notebook),
    )


def _fresh_copy(directory: Path) -> str | None:
    """What a learner does about a file that is not as it should be; the author of a solution knows better."""
    try:
        of_an_author = any(b"### BEGIN SOLUTION" in path.read_bytes() for path in directory.glob("*.ipynb"))
    except OSError:
        of_an_author = False
    return None if of_an_author else FRESH_COPY


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
        cells = read_notebook(notebook)["cells"]
    except CommandError as error:
        error.hint = _fresh_copy(notebook.parent)
        raise
    found: dict[str, Mapping[str, Any]] = {}
    for cell in cells:
        name = grade_id(cell)
        if name and kind(cell) == "check":
            found.setdefault(name, cell["metadata"])
    return found


def _load_checks(directory: Path) -> tuple[Check, ...]:
    path = directory / CHECKS
    name = f"labkernel_checks_{directory.name}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None or not path.is_file():
        raise CommandError(
            f"this exercise has no {CHECKS}", where=str(directory), hint=_fresh_copy(directory)
        )
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses look there for the module that they are in
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a learner's directory stays as it is
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise CommandError(
            f"{CHECKS} cannot be loaded: {type(error).__name__}: {error}",
            where=str(path),
            hint=_fresh_copy(directory),
        ) from None
    finally:
        sys.dont_write_bytecode = before
    checks = {check.name: check for check in vars(module).values() if isinstance(check, Check)}
    if not checks:
        raise CommandError(f"{CHECKS} holds no check", where=str(path), hint=_fresh_copy(directory))
    return tuple(checks.values())
