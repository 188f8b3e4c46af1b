"""Assignments: an exercise as learners get it, made from the instructor's solution."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from labkernel.commands import CommandError
from labkernel.course import places
from labkernel.course.exercise import CHECKS, Exercise, exercises_in, load_exercise, named
from labkernel.course.files import copy_file, files
from labkernel.course.fingerprint import is_as_made, put_fingerprint
from labkernel.course.notebook import kind, notebook_text, read_notebook
from labkernel.course.release import problems, released


@dataclass(frozen=True)
class Made:
    """What was made: the exercise, and how many cells wait for an answer."""

    exercise: Exercise
    answers: int
    kept: Path | None = None
    """Where what was in its place is now, if somebody had worked in it."""

    @property
    def points(self) -> float:
        return sum(self.exercise.points(check.name) for check in self.exercise.checks)


def find_solutions(start: Path | None = None) -> Path:
    """The directory `solutions` here or above, else the course's own."""
    start = (start or Path.cwd()).absolute()
    above = (directory / "solutions" for directory in (start, *start.parents))
    return next((directory for directory in above if directory.is_dir()), places.solutions())


def find_solution(word: str, solutions: Path | None = None) -> Path:
    """The directory of a solution: by number, name or both, among `solutions`. Raises CommandError."""
    return named(word, [solutions or find_solutions()], "solution")


def all_solutions(solutions: Path) -> list[Path]:
    """Every solution in a directory. Raises CommandError where there is none."""
    found = exercises_in(solutions)
    if not found:
        raise CommandError(
            "there are no solutions", where=str(solutions), hint="--solutions says where they are"
        )
    return found


def exercises_beside(solution: Path) -> Path:
    """Where the exercise of a solution goes if nobody says: `exercises` beside `solutions`.

    For a solution inside the installed package it is `exercises` here: what is installed stays as it is.
    """
    around = solution.absolute().parent.parent
    return (Path.cwd() if around == Path(places.__file__).parent else around) / "exercises"


def make_assignment(solution: Path, out: Path, *, force: bool = False) -> Made:
    """Make `out`/NAME from the directory `solution` of that NAME, in place of what was made there before.

    Nothing is written unless all of it can be. An exercise in which somebody has worked stays; with `force`
    it is moved to a name beside it. Raises CommandError, which says all that is wrong with the solution, or
    what is in the way; OSError.
    """
    exercise = load_exercise(solution)
    _validate(exercise)
    target = out.absolute() / exercise.name
    if target.resolve() == exercise.directory.resolve():
        raise CommandError(
            "the exercise would take the place of its solution",
            where=str(target),
            hint="name another place with --out",
        )
    if target.exists() and not _is_exercise(target):
        raise CommandError(
            "something else is in the place of the exercise",
            where=str(target),
            hint="move it away, or name another place with --out",
        )
    touched = target.exists() and not is_as_made(target / exercise.notebook.name)
    if touched and not force:
        raise CommandError(
            "somebody has worked in the exercise that is there: its files are not as they were made",
            where=str(target),
            hint="--force moves it aside and makes it anew; --out names another place",
        )
    out.mkdir(parents=True, exist_ok=True)
    unfinished, untouched = (target.with_name(f".{exercise.name}.{word}") for word in ("part", "old"))
    kept = _free_name(target) if touched else None
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        answers = _write(exercise, unfinished)
        if not touched:
            shutil.rmtree(untouched, ignore_errors=True)
        if target.exists():
            target.rename(kept or untouched)
        unfinished.rename(target)
        if not touched:
            shutil.rmtree(untouched, ignore_errors=True)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return Made(load_exercise(target), answers, kept)


def _free_name(target: Path) -> Path:
    """NAME.old beside `target`, or NAME.old2 and so on where there are such already."""
    names = (target.with_name(f"{target.name}.old{number if number > 1 else ''}") for number in count(1))
    return next(name for name in names if not os.path.lexists(name))


def _is_exercise(directory: Path) -> bool:
    return (directory / CHECKS).is_file() and any(directory.glob("*.ipynb"))


def _validate(solution: Exercise) -> None:
    found = problems(read_notebook(solution.notebook), [check.name for check in solution.checks])
    expected = f"{solution.name}.ipynb"
    notebooks = sorted(path.name for path in solution.directory.glob("*.ipynb"))
    if notebooks != [expected]:
        found.insert(0, f"there should be one notebook, {expected}, and there is {', '.join(notebooks)}")
    if found:
        raise CommandError(
            f"{solution.name} cannot be handed out:\n" + "\n".join(f"  - {problem}" for problem in found),
            where=str(solution.notebook),
        )


def _write(solution: Exercise, directory: Path) -> int:
    """The exercise's files; returns the number of answers."""
    notebook = released(read_notebook(solution.notebook))
    for name in files(solution.directory):
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy_file(solution.directory / name, target)
    learners = directory / solution.notebook.name
    learners.write_text(notebook_text(notebook), encoding="utf-8")
    put_fingerprint(learners)
    return sum(kind(cell) == "answer" for cell in notebook["cells"])
