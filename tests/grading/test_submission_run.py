"""One submission: cells in order, each check at its place, and all checks answered whatever happens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from labkernel.course import Report, load_exercise
from labkernel.grading.rebuild import Cell
from labkernel.grading.result import Graded
from labkernel.grading.submission_run import SubmissionRun
from tests.grading.stand_in import Box, Boxes
from tests.grading.submitted import ASSIGNMENT, CHECKS

EXERCISE = load_exercise(ASSIGNMENT)


def run(*sources: str) -> tuple[Graded, list[str]]:
    """The result, and what was asked of the sandbox; "check x" and "setup x" are cells of that kind."""
    cells = []
    for source in sources:
        kind, _, name = source.partition(" ")
        if kind in ("check", "setup"):
            cells.append(Cell(kind, name, f"%check {name}"))  # type: ignore[arg-type]
        else:
            cells.append(Cell("answer", "answer", source))
    boxes = Boxes()
    graded = SubmissionRun(EXERCISE, cells).run(boxes)
    return graded, boxes.opened[0].ran


def outcomes(graded: Graded) -> list[str]:
    assert [checked.name for checked in graded.report.checks] == list(CHECKS)
    return [checked.outcome for checked in graded.report.checks]


def test_each_check_at_its_place_and_the_others_at_the_end() -> None:
    graded, asked = run("setup x", "a", "check page", "pass page", "pass image", "check image")
    assert asked == [
        *("a", "check page", "pass page", "pass image", "check image"),
        "check container visited",
    ]
    assert outcomes(graded) == ["pass", "fail", "fail", "fail"]
    assert (graded.state, graded.reason) == ("graded", "")


def test_how_cells_went() -> None:
    graded, _ = run("x", "fail", "long", "check page")
    assert [(cell.source, cell.text, cell.note) for cell in graded.cells] == [
        ("x", "x", ""),
        ("fail", "fail", "failed"),
        ("long", "long", "printed more than is shown"),
    ]


def test_after_the_end_all_is_checked_all_the_same() -> None:
    graded, asked = run("pass container", "check image", "end too much", "pass page", "check page")
    assert asked == ["pass container", "check image", "end too much", "check container page visited"]
    assert (graded.state, graded.reason) == ("ended", "too much")
    assert outcomes(graded) == ["fail", "pass", "fail", "fail"]
    messages = [checked.message for checked in graded.report.checks]
    assert messages == ["not there", "", *["not there (the run had ended before: too much)"] * 2]
    assert [(cell.text, cell.note) for cell in graded.cells][1:] == [
        ("printed before", "ended the run: too much"),
        ("", "did not run"),
    ]


def test_when_the_engine_is_gone_what_was_not_checked_fails_with_the_reason() -> None:
    graded, _ = run("pass image", "check image", "end with the engine")
    assert outcomes(graded) == ["pass", "fail", "fail", "fail"]
    assert graded.report.checks[1].message == "the run ended before this could be checked: with the engine"
    assert graded.report.checks[1].max_points == 1
    assert graded.state == "ended"


@pytest.mark.parametrize("cell", ["error no sandbox", "break container"])
def test_an_error_of_ours_is_no_zero(cell: str) -> None:
    graded, _ = run("pass image", "check image", cell)
    assert graded.state == "error"
    assert graded.report.exit_code == 2
    by_name = {checked.name: checked for checked in graded.report.checks}
    assert by_name["image"].points == 2
    assert by_name["container"].outcome == "error"
    assert by_name["container"].points is None
    assert graded.reason.startswith("container: ")
    if cell.startswith("error"):
        assert by_name["visited"].message == "could not be checked: no sandbox; do something"


def test_a_box_says_nothing_of_points_nor_of_checks_it_was_not_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = Box.check

    def boasting(box: Box, exercise: Path, names: Sequence[str]) -> Report:
        found = honest(box, exercise, list(CHECKS)).checks
        return Report("x", [replace(each, outcome="pass", title="x", max_points=1000) for each in found])

    monkeypatch.setattr(Box, "check", boasting)
    graded, _ = run("check image", "error no sandbox")
    assert outcomes(graded) == ["pass", "error", "error", "error"]
    image = graded.report.checks[0]
    assert (image.points, image.title) == (2, EXERCISE.checks[0].title)
