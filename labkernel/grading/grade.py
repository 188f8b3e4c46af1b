"""Grading all submissions: several at a time, each result kept at once, and only what is left."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from labkernel.commands import CommandError
from labkernel.course.run import same_for_all
from labkernel.grading.assignment import Assignment
from labkernel.grading.boxes import Boxes, boxes_for
from labkernel.grading.digest import digest
from labkernel.grading.feedback import page
from labkernel.grading.gradebook import gradebook, number
from labkernel.grading.rebuild import answers, demand_cells, rebuilt
from labkernel.grading.records import Record, Records
from labkernel.grading.result import Graded
from labkernel.grading.sandbox import SandboxError
from labkernel.grading.submission_run import SubmissionRun
from labkernel.grading.submissions import Submission, Unreadable, read_submission

FAULT = 2
"""The exit code when something went wrong that is nobody's doing but ours."""

Say = Callable[[str], None]
OpenBoxes = Callable[[Assignment, Path, int, Say], AbstractContextManager[Boxes]]


@dataclass(frozen=True)
class Grading:
    """The results of a folder of submissions, by learner."""

    exercise: str
    records: Mapping[str, Record]

    @property
    def exit_code(self) -> int:
        """0 when all are graded, 2 where an error of ours left one open."""
        return FAULT if any(record.state == "error" for record in self.records.values()) else 0


def grade(
    assignment: Assignment,
    submissions: Sequence[Submission],
    directory: Path,
    *,
    jobs: int,
    say: Say,
    open_boxes: OpenBoxes = boxes_for,
) -> Grading:
    """Grade what is not graded yet, `jobs` at a time, and write the gradebook, also when interrupted.

    `say` is told of each as it is done. Raises CommandError: another grader is at work in `directory`, or it
    holds results of another exercise, or there can be no sandboxes.
    """
    records = Records(directory)
    with records.held(assignment.exercise.name):
        grader = _Grader(assignment, records, say)
        learners = [submission.learner for submission in submissions]
        try:
            left = grader.find_left(submissions)
            if left:
                grader.grade(left, max(1, min(jobs, len(left))), open_boxes)
        finally:
            if grader.done or grader.begun:  # else nothing is known of anybody, and there may be no sandboxes
                checks = [check.name for check in assignment.exercise.checks]
                records.write_gradebook(gradebook(learners, grader.done, checks))
    return Grading(assignment.exercise.name, {learner: grader.done[learner] for learner in learners})


class _Grader:
    def __init__(self, assignment: Assignment, records: Records, say: Say) -> None:
        self._assignment = assignment
        self._records = records
        self._say = say
        self._stopping = threading.Event()
        self.done: dict[str, Record] = {}
        self.begun = False

    def find_left(self, submissions: Sequence[Submission]) -> list[Submission]:
        """Those without a result, with one that was an error of ours, or with one of something else."""
        for submission in submissions:
            record = self._records.read(submission.learner)
            if record and record.state != "error":
                with contextlib.suppress(OSError):
                    if record.digest == self._made_from(*self._read(submission)):
                        self.done[submission.learner] = record
        if self.done:
            self._say(f"{len(self.done)} of {len(submissions)} were graded before")
        return [submission for submission in submissions if submission.learner not in self.done]

    def grade(self, left: Sequence[Submission], jobs: int, open_boxes: OpenBoxes) -> None:
        """Raises CommandError."""
        try:
            with open_boxes(self._assignment, self._records.work, jobs, self._say) as boxes:
                self.begun = True
                self._grade(left, jobs, boxes)
        except SandboxError as error:
            raise CommandError(
                f"no submission can be run here: {error.message}", hint=error.hint, exit_code=FAULT
            ) from None

    def _grade(self, left: Sequence[Submission], jobs: int, boxes: Boxes) -> None:
        begun: list[Future[tuple[Record, float]]] = []
        with ThreadPoolExecutor(jobs) as pool:
            try:
                begun += (pool.submit(self._grade_one, submission, boxes) for submission in left)
                for count, future in enumerate(as_completed(begun), 1):
                    record, seconds = future.result()
                    self.done[record.learner] = record
                    self._say(f"{count}/{len(left)} {_line(record)}, {seconds:.1f} s")
            except BaseException:
                with _undisturbed():
                    self._stopping.set()
                    pool.shutdown(wait=False, cancel_futures=True)
                    boxes.cancel()
                    pool.shutdown()
                for future in begun:
                    if future.done() and not future.cancelled() and not future.exception():
                        record, _ = future.result()
                        self.done[record.learner] = record
                undone = sum(submission.learner not in self.done for submission in left)
                self._say(f"stopped; the same command does what is left: {undone} of {len(left)}")
                raise

    def _grade_one(self, submission: Submission, boxes: Boxes) -> tuple[Record, float]:
        """Raises OSError where a result cannot be kept."""
        begun = time.monotonic()
        made_from = ""
        try:
            data, problem = self._read(submission)
            made_from = self._made_from(data, problem)
            graded = self._run(data, problem, boxes)
            shown = page(submission.learner, graded)
        except Exception as error:  # whatever it is, it is ours, and the others are graded
            graded = self._error(f"{type(error).__name__}: {error}")
            shown = page(submission.learner, graded)
        if self._stopping.is_set():
            raise InterruptedError("what a sandbox that is taken away says is no result")
        return self._records.write(submission.learner, graded, shown, made_from), time.monotonic() - begun

    def _read(self, submission: Submission) -> tuple[bytes, str]:
        """The notebook, or why it cannot be read. Raises OSError."""
        try:
            return read_submission(submission, self._assignment.exercise.name), ""
        except Unreadable as unreadable:
            return b"", unreadable.reason

    def _made_from(self, data: bytes, problem: str) -> str:
        return digest(self._assignment.digest.encode(), data, problem.encode())

    def _run(self, data: bytes, problem: str, boxes: Boxes) -> Graded:
        exercise, cells = self._assignment.exercise, self._assignment.cells
        try:
            given = {} if problem else answers(data)
            if not problem:
                demand_cells(cells, given)
        except Unreadable as unreadable:
            problem = unreadable.reason
        if problem:
            # Why, is said once, of the submission: no check has looked at anything.
            return Graded(same_for_all(exercise, "fail", ""), "unreadable", problem)
        return SubmissionRun(exercise, rebuilt(cells, given)).run(boxes)

    def _error(self, problem: str) -> Graded:
        report = same_for_all(self._assignment.exercise, "error", f"could not be checked: {problem}")
        return Graded(report, "error", problem)


def _line(record: Record) -> str:
    if record.points is None:
        problem = next((check["message"] for check in record.checks if check["points"] is None), "")
        return f"{record.learner}: an error of ours: {problem}"
    state = "" if record.state == "graded" else f" ({record.state})"
    return f"{record.learner}: {number(record.points)} of {number(record.max_points)}{state}"


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C does not keep what runs from being taken away."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
