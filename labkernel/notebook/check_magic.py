"""What `%check` does: runs checks of the exercise in the current directory, and gives hints one at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from labkernel.commands import CommandError
from labkernel.course import Check, Checked, Exercise, Lab, Report, find_exercise, run_checks
from labkernel.course.run import same_for_all
from labkernel.notebook.check_report import CheckReport, running_html, running_text
from labkernel.notebook.live import Live

if TYPE_CHECKING:
    from docker import DockerClient

HELP = """Usage:  %check [NAME...]

Check this exercise, or only the checks named. Where one fails again, it gives one more hint."""

Connect = Callable[[], AbstractContextManager["DockerClient"]]


class Checker:
    """Remembers how often each check has failed in this kernel: so many of its hints are shown."""

    def __init__(self) -> None:
        self._failures: Counter[tuple[Path, str]] = Counter()

    def check(self, connect: Connect, names: Sequence[str], *, live: bool) -> CheckReport:
        """Raises CommandError where there is no exercise, or no check of that name; a check that fails, or
        cannot be run, is in the report. With `live`, the cell shows which check is under way.
        """
        exercise = find_exercise()
        exercise.require(names)
        under_way = _UnderWay() if live else None
        try:
            report = self._report(exercise, connect, names, under_way)
        except BaseException:
            if under_way:
                under_way.output.finish()
            raise
        for checked in report.checks:
            self._failures[exercise.directory, checked.name] += checked.outcome == "fail"
        hints = {c.name: self._failures[exercise.directory, c.name] for c in report.checks}
        shown = CheckReport(report, hints)
        if under_way:
            under_way.output.finish((shown.text, shown._repr_html_()))
            shown.is_shown = True
        return shown

    def _report(
        self, exercise: Exercise, connect: Connect, names: Sequence[str], under_way: _UnderWay | None
    ) -> Report:
        try:
            with connect() as client:
                return run_checks(exercise, Lab(client, exercise.directory), names, begun=under_way)
        except CommandError as error:  # no engine answers
            return same_for_all(exercise, "error", error.text, names)


class _UnderWay:
    """The checks as they stand, below the cell."""

    def __init__(self) -> None:
        self._state: tuple[Check | None, Sequence[Checked]] = (None, ())
        self.output = Live(self._render)
        self.output.start()

    def __call__(self, check: Check, done: Sequence[Checked]) -> None:
        self._state = (check, done)

    def _render(self) -> tuple[str, str]:
        check, done = self._state
        return (running_text(check, done), running_html(check, done)) if check else ("", "")
