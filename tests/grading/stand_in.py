"""Boxes in place of sandboxes, for what no sandbox does when it is asked to: to fail, or to keep one waiting.

A cell whose source is "end ..." ends its submission, "error ..." is an error of ours, "wait" waits until all
is cancelled; any other prints itself. A check passes if a cell "pass NAME" has been run.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labkernel.course import Checked, Report, load_exercise
from labkernel.grading.assignment import Assignment
from labkernel.grading.sandbox import CellRun, SandboxEnded, SandboxError


class Box:
    def __init__(self, boxes: Boxes) -> None:
        self._boxes = boxes
        self._ended = ""
        self.ran: list[str] = []

    def run_cell(self, source: str) -> CellRun:
        self.ran.append(source)
        word, _, rest = source.partition(" ")
        if word == "end":
            self._ended = rest
        if word == "error":
            raise SandboxError(rest, "do something")
        if word == "bug":
            raise ZeroDivisionError(rest)
        if word == "wait":
            self._boxes.waiting.release()
            assert self._boxes.cancelled.wait(20)
            self._ended = "the sandbox was taken away"
        if self._ended:
            raise SandboxEnded(self._ended, "printed before")
        return CellRun(source, word == "fail", word == "long")

    def check(self, exercise: Path, names: Sequence[str]) -> Report:
        self.ran.append(f"check {' '.join(names)}")
        if self._ended == "with the engine":
            raise SandboxEnded(self._ended)
        loaded = load_exercise(exercise)
        found = []
        for check in loaded.checks:
            if check.name in names:
                outcome: Any = "fail"
                if f"pass {check.name}" in self.ran:
                    outcome = "pass"
                if f"break {check.name}" in self.ran:
                    outcome = "error"
                message = "" if outcome == "pass" else "not there"
                found.append(
                    Checked(check.name, check.title, outcome, loaded.points(check.name), message, ("try",))
                )
        return Report(loaded.name, found)


class Boxes:
    def __init__(self) -> None:
        self.opened: list[Box] = []
        self.cancelled = threading.Event()
        self.waiting = threading.Semaphore(0)

    @contextmanager
    def open(self) -> Iterator[Box]:
        self.opened.append(Box(self))
        yield self.opened[-1]

    def cancel(self) -> None:
        self.cancelled.set()

    @contextmanager
    def for_assignment(self, assignment: Assignment, work: Path, jobs: int, say: Any) -> Iterator[Boxes]:
        yield self
