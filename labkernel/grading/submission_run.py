"""One submission's run: its cells in a sandbox, each check at its place, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from labkernel.course import Checked, Exercise, Report
from labkernel.course.outcome import Outcome
from labkernel.grading.boxes import Box, Boxes
from labkernel.grading.rebuild import Cell
from labkernel.grading.result import Graded, RanCell, State, checked
from labkernel.grading.sandbox import SandboxEnded, SandboxError


class SubmissionRun:
    """Runs the cells in order. An error of ours ends it, and leaves open what was not checked by then."""

    def __init__(self, exercise: Exercise, cells: Sequence[Cell]) -> None:
        self._exercise = exercise
        self._cells = cells
        self._ran: list[RanCell] = []
        self._checked: dict[str, Checked] = {}
        self._ended = ""

    def run(self, boxes: Boxes) -> Graded:
        """Never raises SandboxError: it is what the result then says."""
        try:
            with boxes.open() as box:
                for cell in self._cells:
                    self._run(box, cell)
                # Those after the end of a run, and those that the notebook has no cell for.
                self._check(box, [check.name for check in self._exercise.checks])
        except SandboxError as error:
            problem = "; ".join(filter(None, [error.message, error.hint]))
            self._keep(self._open(), "error", f"could not be checked: {problem}")
        problems = [
            f"{each.name}: {each.message}" for each in self._checked.values() if each.outcome == "error"
        ]
        if problems:
            return self._graded("error", problems[0])
        return self._graded("ended" if self._ended else "graded", self._ended)

    def _run(self, box: Box, cell: Cell) -> None:
        if cell.kind == "setup":
            return  # done before, for everybody
        if self._ended:
            if cell.kind != "check":
                self._ran.append(RanCell(cell.name, cell.source, note="did not run"))
            return
        if cell.kind == "check":
            self._check(box, [cell.name])
            return
        try:
            ran = box.run_cell(cell.source)
        except SandboxEnded as ended:
            self._ended = ended.reason
            self._ran.append(RanCell(cell.name, cell.source, ended.text, f"ended the run: {ended.reason}"))
            return
        notes = ["failed"] * ran.failed + ["printed more than is shown"] * ran.cut
        self._ran.append(RanCell(cell.name, cell.source, ran.text, ", ".join(notes)))

    def _check(self, box: Box, names: Sequence[str]) -> None:
        names = [name for name in names if name in self._open()]
        if not names:
            return
        try:
            found = box.check(self._exercise.directory, names).checks
        except SandboxEnded as ended:
            self._ended = self._ended or ended.reason
            self._keep(names, "fail", f"the run ended before this could be checked: {self._ended}")
            return
        for each in found:
            message = each.message
            if self._ended and each.outcome == "fail":
                message = f"{message} (the run had ended before: {self._ended})"
            if each.name in names:  # what it is worth is the exercise's to say
                kept = checked(self._exercise, each.name, each.outcome, message)
                self._checked[each.name] = replace(kept, hints=each.hints)

    def _keep(self, names: Sequence[str], outcome: Outcome, message: str) -> None:
        for name in names:
            self._checked[name] = checked(self._exercise, name, outcome, message)

    def _open(self) -> list[str]:
        return [check.name for check in self._exercise.checks if check.name not in self._checked]

    def _graded(self, state: State, reason: str) -> Graded:
        checks = [self._checked[check.name] for check in self._exercise.checks]
        return Graded(Report(self._exercise.name, checks), state, reason, tuple(self._ran))
