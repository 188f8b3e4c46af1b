"""What came of a submission, as grading hands it on: the report, and how it went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from labkernel.course import Checked, Exercise, Report
from labkernel.course.outcome import Outcome

State = Literal["graded", "ended", "unreadable", "error"]
"""ended: a limit was passed, what is there was graded; error: ours, graded again the next time."""


@dataclass(frozen=True)
class RanCell:
    """A cell as it went. `note` says what became of it, where it did not simply run to its end."""

    name: str
    source: str
    text: str = ""
    note: str = ""


@dataclass(frozen=True)
class Graded:
    """A submission's result. `reason` says more of a state that is not simply "graded"."""

    report: Report
    state: State
    reason: str = ""
    cells: tuple[RanCell, ...] = ()


def checked(exercise: Exercise, name: str, outcome: Outcome, message: str) -> Checked:
    [title] = [check.title for check in exercise.checks if check.name == name]
    return Checked(name, title, outcome, exercise.points(name), message)
