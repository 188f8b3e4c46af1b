"""What came of the checks: the form in which results are shown, stored and exchanged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["pass", "fail", "skipped", "error"]
"""skipped: a check that it depends on did not pass; error: ours, which never counts against the learner."""


@dataclass(frozen=True)
class Checked:
    """One check's outcome. `message` says what was expected and found; `hints` go from faint to plain."""

    name: str
    title: str
    outcome: Outcome
    max_points: float
    message: str = ""
    hints: tuple[str, ...] = ()

    @property
    def points(self) -> float | None:
        """None for an error: nobody knows yet."""
        if self.outcome == "error":
            return None
        return self.max_points if self.outcome == "pass" else 0


@dataclass(frozen=True)
class Report:
    """The outcomes of an exercise's checks, in the order of the exercise."""

    exercise: str
    checks: Sequence[Checked]

    @property
    def points(self) -> float | None:
        """The sum; None as long as one of them is not known."""
        known = [checked.points for checked in self.checks if checked.points is not None]
        return sum(known) if len(known) == len(self.checks) else None

    @property
    def max_points(self) -> float:
        return sum(checked.max_points for checked in self.checks)

    @property
    def passed(self) -> bool:
        return all(checked.outcome == "pass" for checked in self.checks)

    @property
    def exit_code(self) -> int:
        """0 when all pass, 1 when not, 2 when one of them is an error of ours."""
        if any(checked.outcome == "error" for checked in self.checks):
            return 2
        return 0 if self.passed else 1

    def as_json(self, *, hints: int = 1) -> dict[str, Any]:
        """The form that `labkernel check --json` prints and `labkernel grade` stores; `hints` at most."""
        return {
            "exercise": self.exercise,
            "checks": [
                {
                    "name": checked.name,
                    "outcome": checked.outcome,
                    "points": checked.points,
                    "max_points": checked.max_points,
                    "message": checked.message,
                    "hint": "\n".join(checked.hints[:hints]),
                }
                for checked in self.checks
            ],
        }
