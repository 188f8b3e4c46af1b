"""What learners get is what the instructor's solutions say."""

from __future__ import annotations

import os
from pathlib import Path

from labkernel.course import places
from labkernel.course.assignment import make_assignment
from labkernel.course.exercise import exercises_in
from labkernel.course.files import files


def contents(directory: Path) -> dict[str, tuple[bytes, bool]]:
    """Each file's content, and whether it is a program."""
    return {
        str(name): ((directory / name).read_bytes(), os.access(directory / name, os.X_OK))
        for name in files(directory)
    }


def test_every_exercise_is_made_from_its_solution(tmp_path: Path) -> None:
    made = {}
    for solution in exercises_in(places.solutions()):
        make_assignment(solution, tmp_path)
        made[solution.name] = contents(tmp_path / solution.name)
    assert made, "there are no solutions"
    given = {path.name: contents(path) for path in places.exercises().iterdir() if path.is_dir()}
    assert sorted(given) == sorted(made), "labkernel assignment make NAME makes an exercise of a solution"
    stale = [
        f"{name}/{file}"
        for name, expected in made.items()
        for file in sorted(expected.keys() | given[name].keys())
        if expected.get(file) != given[name].get(file)
    ]
    assert stale == [], "labkernel assignment make NAME makes the exercises anew"


def test_an_exercise_holds_no_link_and_no_solution() -> None:
    found = []
    for exercise in exercises_in(places.exercises()):
        for path in exercise.rglob("*"):
            if path.is_symlink():
                found.append(f"{path}: a link")
            elif path.is_file() and b"END SOLUTION" in path.read_bytes():
                found.append(f"{path}: a solution")
    assert found == []
