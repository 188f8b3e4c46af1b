from __future__ import annotations

import os
from pathlib import Path

import pytest

from labkernel.commands import CommandError
from labkernel.course import Exercise, find_exercise, load_exercise
from tests.course.small_exercise import CHECKS, NAME, write_solution


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with `exercises`, and a home without any."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write_solution(tmp_path / "course" / "exercises")
    return tmp_path / "course"


@pytest.mark.parametrize(
    "word",
    ["1", "01", "greeting", NAME, f"exercises/{NAME}", f"exercises/../exercises/{NAME}/{NAME}.ipynb"],
)
def test_by_number_name_and_path(course: Path, word: str) -> None:
    found = find_exercise(word, course)
    assert (found.name, found.directory) == (NAME, course / "exercises" / NAME)


def test_where_it_is_looked_for(course: Path, tmp_path: Path) -> None:
    deep = course / "notes" / "deep"
    deep.mkdir(parents=True)
    assert find_exercise("1", deep).directory == course / "exercises" / NAME  # above
    assert find_exercise("1", course / "exercises").directory == course / "exercises" / NAME  # beside
    assert find_exercise(None, course / "exercises" / NAME).name == NAME  # here
    (course / "exercises" / NAME / "app").mkdir()
    assert find_exercise("..", course / "exercises" / NAME / "app").name == NAME
    assert find_exercise("01", tmp_path).name == "01-web-base"  # the course's own
    write_solution(tmp_path / "home" / "labkernel" / "exercises")
    assert find_exercise("01", tmp_path).directory.parent.parent.parent == tmp_path / "home"


def test_checks_that_another_user_left_are_not_run(course: Path) -> None:
    planted = course / "exercises"
    (planted / NAME / "checks.py").write_text("raise SystemExit('mischief')")
    os.chown(planted, 12345, -1)
    assert find_exercise("01", course).name == "01-web-base"


def test_an_unknown_one(course: Path) -> None:
    with pytest.raises(CommandError) as caught:
        find_exercise("greting", course)
    assert caught.value.hint == "did you mean greeting?"
    with pytest.raises(CommandError) as caught:
        find_exercise("zzz", course)
    assert str(caught.value.hint).startswith(f"exercises: {NAME}, 01-web-base, ")


def test_a_directory_without_an_exercise(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="this directory holds no exercise"):
        find_exercise(None, tmp_path)


def load(directory: Path, checks: str) -> Exercise:
    (directory / "checks.py").write_text(checks)
    return load_exercise(directory)


@pytest.mark.parametrize(
    ("checks", "message"),
    [
        ("x = ", "checks.py cannot be loaded: SyntaxError: "),
        ("import nothing_of_that_name", "checks.py cannot be loaded: ModuleNotFoundError: "),
        ("raise SystemExit(0)", "checks.py cannot be loaded: SystemExit: 0"),
        ("\0", "checks.py cannot be loaded: "),
        ("x = 1", "checks.py holds no check"),
        (
            "from labkernel.course import check\n@check\ndef quiet(lab): pass",
            "checks.py cannot be loaded: TypeError: the check quiet needs a docstring",
        ),
    ],
)
def test_checks_that_are_none(tmp_path: Path, checks: str, message: str) -> None:
    directory = write_solution(tmp_path)
    with pytest.raises(CommandError) as caught:
        load(directory, checks)
    assert caught.value.what.startswith(message)
    assert caught.value.where == str(directory / "checks.py")
    assert caught.value.hint is None  # the author of a solution knows where it comes from
    notebook = directory / f"{NAME}.ipynb"
    notebook.write_text(notebook.read_text().replace("BEGIN SOLUTION", ""))
    with pytest.raises(CommandError) as caught:
        load(directory, checks)
    assert "labkernel lab" in str(caught.value.hint)


def test_what_checks_may_hold(tmp_path: Path) -> None:
    """They come in the file's order, under one name each; dataclasses work; nothing is left behind."""
    directory = write_solution(tmp_path)
    extra = """
from dataclasses import dataclass

@dataclass
class Place:
    port: int

picture = image
"""
    exercise = load(directory, CHECKS + extra)
    assert [check.name for check in exercise.checks] == ["image", "greeting", "tagged"]
    assert sorted(path.name for path in directory.iterdir()) == [f"{NAME}.ipynb", "checks.py", "greeting"]


def test_a_learners_cells(tmp_path: Path) -> None:
    """A cell that is there twice counts once, and a lost one takes points and hints but no check with it."""
    directory = write_solution(tmp_path)
    notebook = (directory / f"{NAME}.ipynb").read_text()
    broken = notebook.replace('"grade_id": "tagged"', '"grade_id": "greeting"')
    (directory / f"{NAME}.ipynb").write_text(broken)
    exercise = load_exercise(directory)
    assert exercise.points("greeting") == 2.5
    assert exercise.hints("greeting")[0] == "Look at the context."
    assert (exercise.points("tagged"), exercise.hints("tagged")) == (0, ())
    assert len(exercise.checks) == 3


def test_a_notebook_that_is_lost_or_broken(tmp_path: Path) -> None:
    directory = write_solution(tmp_path)
    (directory / f"{NAME}.ipynb").write_text("{")
    with pytest.raises(CommandError, match="this is not a notebook"):
        load_exercise(directory)
    (directory / f"{NAME}.ipynb").unlink()
    with pytest.raises(CommandError, match="this exercise has no notebook"):
        load_exercise(directory)
