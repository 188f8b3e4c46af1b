"""Sandboxes for one assignment: with its files in them, and over the images that it starts from."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from labkernel.course import Report
from labkernel.grading.assignment import Assignment
from labkernel.grading.base_images import have_images
from labkernel.grading.sandbox import CellRun, Sandboxes


class Box(Protocol):
    """What grading needs of a sandbox; see `labkernel.grading.sandbox.Sandbox`."""

    def run_cell(self, source: str) -> CellRun: ...

    def check(self, exercise: Path, names: Sequence[str]) -> Report: ...


class Boxes(Protocol):
    """Where they come from."""

    def open(self) -> AbstractContextManager[Box]:
        """A fresh one; from any thread. Raises SandboxError."""
        ...

    def cancel(self) -> None:
        """End all that are open: whoever waits for one is told so. From any thread."""
        ...


class _Prepared:
    def __init__(self, sandboxes: Sandboxes, files: Path, name: str) -> None:
        self._sandboxes = sandboxes
        self._files = files
        self._name = name

    def open(self) -> AbstractContextManager[Box]:
        return self._sandboxes.open(self._files, self._name)

    def cancel(self) -> None:
        self._sandboxes.cancel()


@contextmanager
def boxes_for(assignment: Assignment, work: Path, jobs: int, say: Callable[[str], None]) -> Iterator[Boxes]:
    """Boxes for `jobs` at a time, whose files are below `work`; once what is run for everybody has been run.

    Raises SandboxError, CommandError.
    """
    name = assignment.exercise.name
    have_images(assignment.images if assignment.engine else (), say)
    with (
        Sandboxes(
            work,
            limits=assignment.limits,
            engine=assignment.engine,
            network=assignment.network,
            jobs=jobs,
            images=assignment.images,
        ) as sandboxes,
        tempfile.TemporaryDirectory(
            dir=work
        ) as place,  # there, the next grader finds it if this one is killed
    ):
        files = assignment.write_files(Path(place))
        if assignment.setup:
            say("running the cells that prepare the exercise, once for all")
            sandboxes.prepare(files, name, assignment.setup)
        yield _Prepared(sandboxes, files, name)
