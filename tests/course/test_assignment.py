from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from labkernel.commands import CommandError
from labkernel.course import find_exercise
from labkernel.course.assignment import exercises_beside, find_solution, find_solutions, make_assignment
from tests.course.small_exercise import (
    CHECKS,
    NAME,
    answer,
    checking,
    notebook,
    write_solution,
)

Change = Callable[[Any], object]


def made(place: Path) -> Any:
    """The learner's notebook."""
    return nbformat.read(place / NAME / f"{NAME}.ipynb", as_version=4)


def test_solutions_are_out_and_the_rest_stays(tmp_path: Path) -> None:
    solution = write_solution(tmp_path / "solutions")
    result = make_assignment(solution, tmp_path / "out")
    assert (result.answers, len(result.exercise.checks), result.points) == (2, 3, 4.5)
    learners = made(tmp_path / "out")
    nbformat.validate(learners)
    assert [cell.source for cell in learners.cells if cell.metadata.get("nbgrader", {}).get("solution")] == [
        '%%dockerfile -t me/greeting --context .\nFROM busybox\n# YOUR CODE HERE\nCMD ["cat", "/greeting"]',
        "# YOUR CODE HERE",
    ]
    assert [cell.id for cell in learners.cells] == [cell.id for cell in notebook().cells]
    assert "SOLUTION" not in (tmp_path / "out" / NAME / f"{NAME}.ipynb").read_text()


def test_outputs_of_a_run_are_cleared(tmp_path: Path) -> None:
    make_assignment(write_solution(tmp_path / "solutions"), tmp_path / "out")
    cells = made(tmp_path / "out").cells
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in cells)
    assert all("execution" not in cell.metadata for cell in cells)
    assert made(tmp_path / "out").metadata.language_info == {"name": "python"}


def test_what_is_ours_cannot_be_edited_and_an_answer_can(tmp_path: Path) -> None:
    make_assignment(write_solution(tmp_path / "solutions"), tmp_path / "out")
    cells = {cell.id: cell.metadata for cell in made(tmp_path / "out").cells}
    assert {name: cells[name].get("editable") for name in ("cell-setup", "cell-image", "cell-build")} == {
        "cell-setup": False,
        "cell-image": False,
        "cell-build": None,
    }
    assert all(cells[name].deletable is False for name in ("cell-setup", "cell-image", "cell-build"))


def test_an_indented_region_leaves_an_indented_stub(tmp_path: Path) -> None:
    changed = notebook()
    changed.cells[5].source = (
        "def f():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION\n\n"
        "### BEGIN SOLUTION\nf()\n### END SOLUTION\n# the end"
    )
    make_assignment(write_solution(tmp_path / "solutions", changed), tmp_path / "out")
    assert made(tmp_path / "out").cells[5].source == (
        "def f():\n    # YOUR CODE HERE\n\n# YOUR CODE HERE\n# the end"
    )


def test_links_are_followed_and_leftovers_stay_behind(tmp_path: Path) -> None:
    solution = write_solution(tmp_path / "solutions")
    app = tmp_path / "app"
    (app / "deep").mkdir(parents=True)
    (app / "deep" / "run.sh").write_text("#!/bin/sh\n")
    (app / "deep" / "run.sh").chmod(0o755)
    (app / ".dockerignore").write_text("x\n")
    (solution / "app").symlink_to("../../app")
    (solution / "again").symlink_to("../../app/deep")
    (solution / ".ipynb_checkpoints").mkdir()
    (solution / ".ipynb_checkpoints" / "x.ipynb").write_text("")
    exercise = make_assignment(solution, tmp_path / "out").exercise.directory
    found = sorted(str(path.relative_to(exercise)) for path in exercise.rglob("*") if path.is_file())
    assert found == [
        f"{NAME}.ipynb",
        "again/run.sh",
        "app/.dockerignore",
        "app/deep/run.sh",
        "checks.py",
        "greeting",
    ]
    assert not any(path.is_symlink() for path in exercise.rglob("*"))
    assert os.access(exercise / "app" / "deep" / "run.sh", os.X_OK)


@pytest.mark.parametrize(
    ("target", "message"), [("nowhere", "leads nowhere"), ("..", "into a directory around itself")]
)
def test_a_link_that_cannot_be_followed(tmp_path: Path, target: str, message: str) -> None:
    solution = write_solution(tmp_path / "solutions")
    (solution / "link").symlink_to(target)
    with pytest.raises(CommandError) as caught:
        make_assignment(solution, tmp_path / "out")
    assert message in caught.value.what
    assert str(solution / "link") in str(caught.value.where)
    assert list((tmp_path / "out").iterdir()) == []


def test_made_again_it_takes_the_place_of_what_was_made(tmp_path: Path) -> None:
    solution = write_solution(tmp_path / "solutions")
    (solution / "old").write_text("")
    make_assignment(solution, tmp_path / "out")
    (solution / "old").unlink()
    (solution / "greeting").write_text("good day\n")
    make_assignment(solution, tmp_path / "out")
    assert (tmp_path / "out" / NAME / "greeting").read_text() == "good day\n"
    assert not (tmp_path / "out" / NAME / "old").exists()
    assert [path.name for path in (tmp_path / "out").iterdir()] == [NAME]


def test_a_copy_that_jupyter_saved_unchanged_is_as_made(tmp_path: Path) -> None:
    solution = write_solution(tmp_path / "solutions")
    exercise = make_assignment(solution, tmp_path / "out").exercise
    nbformat.write(nbformat.read(exercise.notebook, as_version=4), exercise.notebook)
    (exercise.directory / ".ipynb_checkpoints").mkdir()
    assert make_assignment(solution, tmp_path / "out").kept is None


def work(change: Callable[[Any], object]) -> Change:
    """A change of the notebook, as a change of the exercise's directory."""

    def worked(directory: Path) -> None:
        path = directory / f"{NAME}.ipynb"
        content = nbformat.read(path, as_version=4)
        change(content)
        nbformat.write(content, path)

    return worked


WORK: dict[str, Change] = {
    "an answer": work(lambda content: content.cells[2].update(source="FROM busybox")),
    "an output": work(lambda content: content.cells[1].outputs.append(new_output("stream", text="x"))),
    "a cell": work(lambda content: content.cells.append(new_code_cell("1"))),
    "no word of what was made": work(lambda content: content.metadata.labkernel.pop("made")),
    "a file of one's own": lambda directory: (directory / "Dockerfile").write_text("FROM busybox"),
    "a file that was changed": lambda directory: (directory / "greeting").write_text("hi"),
    "a file that is gone": lambda directory: (directory / "greeting").unlink(),
    "a link that leads nowhere": lambda directory: (directory / "x").symlink_to("nowhere"),
    "a notebook that is none": lambda directory: (directory / f"{NAME}.ipynb").write_text("half"),
    "a renamed notebook": lambda directory: (directory / f"{NAME}.ipynb").rename(directory / "mine.ipynb"),
}


def everything(directory: Path) -> dict[str, bytes | None]:
    return {path.name: path.read_bytes() if path.is_file() else None for path in directory.iterdir()}


@pytest.mark.parametrize("change", WORK.values(), ids=WORK)
def test_work_is_never_lost(tmp_path: Path, change: Change) -> None:
    """It is refused; with force what was there is moved to a name of its own, each time another."""
    solution = write_solution(tmp_path / "solutions")
    directory = make_assignment(solution, tmp_path / "out").exercise.directory
    change(directory)
    before = everything(directory)
    with pytest.raises(CommandError, match="somebody has worked in the exercise") as caught:
        make_assignment(solution, tmp_path / "out")
    assert "--force" in str(caught.value.hint)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [NAME]
    assert everything(directory) == before
    kept = make_assignment(solution, tmp_path / "out", force=True).kept
    assert kept == tmp_path / "out" / f"{NAME}.old"
    assert everything(kept) == before
    assert make_assignment(solution, tmp_path / "out", force=True).kept is None
    change(directory)
    again = make_assignment(solution, tmp_path / "out", force=True).kept
    assert again == tmp_path / "out" / f"{NAME}.old2"
    assert kept.is_dir()
    assert find_exercise("01", tmp_path / "out").directory == directory


def test_what_is_no_exercise_stays(tmp_path: Path) -> None:
    (tmp_path / "out" / NAME).mkdir(parents=True)
    (tmp_path / "out" / NAME / "thesis").write_text("years of work")
    with pytest.raises(CommandError, match="something else is in the place"):
        make_assignment(write_solution(tmp_path / "solutions"), tmp_path / "out")
    assert (tmp_path / "out" / NAME / "thesis").read_text() == "years of work"


def test_an_exercise_never_takes_its_solutions_place(tmp_path: Path) -> None:
    solution = write_solution(tmp_path / "solutions")
    with pytest.raises(CommandError, match="take the place of its solution"):
        make_assignment(solution, tmp_path / "solutions")
    assert "BEGIN SOLUTION" in (solution / f"{NAME}.ipynb").read_text()


WRONG: dict[str, tuple[Change, list[str]]] = {
    "no end": (
        lambda cells: cells[2].update(source="### BEGIN SOLUTION\nx"),
        ["cell 3 (build): line 1: the solution does not end: ### END SOLUTION is missing"],
    ),
    "no beginning": (
        lambda cells: cells[2].update(source="### BEGIN SOLUTION\nx\n### END SOLUTION\n### END SOLUTION"),
        ["cell 3 (build): line 4: a solution ends that has not begun"],
    ),
    "one within another": (
        lambda cells: cells[2].update(source="### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION"),
        ["cell 3 (build): line 2: a solution begins within the one of line 1"],
    ),
    "a mark that is almost one": (
        lambda cells: cells[2].update(source=cells[2].source + "\n## end solution"),
        ["cell 3 (build): line 7: the marks are exactly"],
    ),
    "an answer in full view": (
        lambda cells: cells[2].update(source="%docker images"),
        ["cell 3 (build): an answer has its solution between"],
    ),
    "a solution in a given cell": (
        lambda cells: cells[1].update(source=cells[2].source),
        ["cell 2 (setup): only an answer has solutions"],
    ),
    "a solution in a text": (
        lambda cells: cells[0].update(source="### BEGIN SOLUTION\n### END SOLUTION"),
        ["cell 1: only an answer has solutions"],
    ),
    "no check": (
        lambda cells: cells[3].metadata.nbgrader.update(grade_id="imgae"),
        ["cell 4 (imgae): there is no check imgae", "the check image has no cell"],
    ),
    "a check that runs another": (
        lambda cells: cells[3].update(source="%check tagged"),
        ["cell 4 (image): the cell of a check holds one line: %check image"],
    ),
    "no cell": (lambda cells: cells.pop(3), ["the check image has no cell"]),
    "one id twice": (
        lambda cells: cells[1].metadata.nbgrader.update(grade_id="tag"),
        ["cell 6 (tag): another cell has the same grade_id"],
    ),
    "no points": (
        lambda cells: cells[3].metadata.nbgrader.pop("points"),
        ["cell 4 (image): its points should be a number, and are None"],
    ),
    "negative points": (
        lambda cells: cells[3].metadata.nbgrader.update(points=-1),
        ["cell 4 (image): its points should be a number, and are -1"],
    ),
    "hints that are no list": (
        lambda cells: cells[3].metadata.update(labkernel={"hints": "look"}),
        ["cell 4 (image): its hints should be a list of texts"],
    ),
    "an answer that is checked by hand": (
        lambda cells: cells.append(answer("x", "### BEGIN SOLUTION\n### END SOLUTION", grade=True)),
        ["cell 8 (x): its nbgrader metadata is that of no answer, check or given cell"],
    ),
    "an unlocked check": (
        lambda cells: cells.__setitem__(3, checking("image", 1, [], locked=False)),
        ["cell 4 (image): its nbgrader metadata is that of no answer, check or given cell"],
    ),
    "another version of the metadata": (
        lambda cells: cells[3].metadata.nbgrader.update(schema_version=2),
        ["cell 4 (image): its schema_version should be 3, and is 2"],
    ),
    "no id": (
        lambda cells: cells[1].metadata.nbgrader.update(grade_id="a b"),
        ["cell 2 (a b): its grade_id should be a name"],
    ),
    "setup that is an answer": (
        lambda cells: cells[2].metadata.update(labkernel={"setup": True}),
        ["cell 3 (build): only a given code cell can be setup"],
    ),
    "an answer that is text": (
        lambda cells: cells.append(
            new_markdown_cell("### BEGIN SOLUTION\n### END SOLUTION", metadata=dict(answer("x", "").metadata))
        ),
        ["cell 8 (x): an answer is a code cell"],
    ),
}


@pytest.mark.parametrize(("change", "messages"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said(tmp_path: Path, change: Change, messages: list[str]) -> None:
    changed = notebook()
    change(changed.cells)
    solution = write_solution(tmp_path / "solutions", changed)
    with pytest.raises(CommandError) as caught:
        make_assignment(solution, tmp_path / "out")
    lines = caught.value.what.splitlines()
    assert len(lines) >= 1 + len(messages)
    for message in messages:
        assert any(line.startswith(f"  - {message}") for line in lines), lines
    assert not (tmp_path / "out").exists()


def test_a_notebook_that_names_no_kernel(tmp_path: Path) -> None:
    changed = notebook()
    del changed.metadata["kernelspec"]
    with pytest.raises(CommandError, match="names no kernel"):
        make_assignment(write_solution(tmp_path / "solutions", changed), tmp_path / "out")


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    changed = notebook()
    changed.cells[2].source = "### BEGIN SOLUTION"
    changed.cells.append(new_code_cell("### END SOLUTION"))
    solution = write_solution(tmp_path / "solutions", changed, CHECKS.replace("def tagged", "def other"))
    (solution / "second.ipynb").write_text("{}")
    with pytest.raises(CommandError) as caught:
        make_assignment(solution, tmp_path / "out")
    assert [line.partition(":")[0] for line in caught.value.what.splitlines()[1:]] == [
        "  - there should be one notebook, 01-greeting.ipynb, and there is 01-greeting.ipynb, second.ipynb",
        "  - cell 3 (build)",
        "  - cell 7 (tagged)",
        "  - cell 8",
        "  - the check other has no cell",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b"\xc3\x28{}", "decode"),
        (b"[" * 100_000, "recursion"),
        (b"[]", "it has no cells"),
        (b'{"cells": [], "nbformat": 3, "metadata": {}}', "not version 4"),
        (b'{"cells": [7], "nbformat": 4, "metadata": {}}', "cell 1 is none"),
        (b'{"cells": [], "nbformat": 4}', "no metadata"),
    ],
)
def test_what_is_no_notebook(tmp_path: Path, content: bytes, message: str) -> None:
    solution = write_solution(tmp_path / "solutions")
    (solution / f"{NAME}.ipynb").write_bytes(content)
    with pytest.raises(CommandError) as caught:
        make_assignment(solution, tmp_path / "out")
    assert "this is not a notebook" in caught.value.what
    assert message in caught.value.what
    assert str(solution / f"{NAME}.ipynb") == caught.value.where


def test_solutions_are_found_here_and_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solution = write_solution(tmp_path / "solutions")
    assert find_solutions(solution) == tmp_path / "solutions"
    for word in ("1", "01", "greeting", NAME, str(solution)):
        assert find_solution(word, tmp_path / "solutions") == solution
    with pytest.raises(CommandError) as caught:
        find_solution("greetign", tmp_path / "solutions")
    assert caught.value.what == "there is no solution greetign"
    assert caught.value.hint == "did you mean greeting?"
    assert exercises_beside(solution) == tmp_path / "exercises"


def test_the_exercise_is_one_that_can_be_checked(tmp_path: Path) -> None:
    make_assignment(write_solution(tmp_path / "solutions"), tmp_path / "exercises")
    exercise = find_exercise("01", tmp_path)
    assert exercise.directory == tmp_path / "exercises" / NAME
    assert exercise.hints("greeting") == ("Look at the context.", "`COPY greeting /greeting`")
    assert exercise.points("greeting") == 2.5
