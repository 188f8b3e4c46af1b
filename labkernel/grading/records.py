"""What is kept in DIR of a grading: results, pages, and what they were made from.

Every file is written beside and renamed: a run that is killed leaves it as it was, or as it is to be.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from labkernel.commands import CommandError
from labkernel.grading.result import Graded, State


@dataclass(frozen=True)
class Record:
    """A submission's stored result: `checks` as in the JSON form, `digest` of what it was made from."""

    learner: str
    state: State
    digest: str
    checks: tuple[dict[str, Any], ...]

    @property
    def points(self) -> float | None:
        """The sum; None as long as one of them is not known."""
        points: list[float | None] = [check["points"] for check in self.checks]
        known = [amount for amount in points if amount is not None]
        return sum(known) if len(known) == len(points) and self.state != "error" else None

    @property
    def max_points(self) -> float:
        amounts: list[float] = [check["max_points"] for check in self.checks]
        return sum(amounts)


class Records:
    """The records below one directory. Safe in several threads, one learner in one of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._results = directory / "results"
        self._feedback = directory / "feedback"
        self._state = directory / ".state"

    @contextmanager
    def held(self, exercise: str) -> Iterator[None]:
        """Make the directories for the results of `exercise`, and keep every other grader away.

        Raises CommandError, before anything is written, where results of another exercise are.
        """
        others = self._exercise()
        if others not in (None, exercise):
            raise CommandError(
                f"this folder holds grades of {others}",
                where=str(self.directory),
                hint=f"another --out for {exercise}; what is there stays as it is",
            )
        try:
            for directory in (self._results, self._feedback, self._state / "new", self._state / "learners"):
                directory.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CommandError(
                f"results cannot be written there: {(error.strerror or str(error)).lower()}",
                where=str(error.filename or self.directory),
                hint="--out names the directory for them",
            ) from None
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CommandError(
                    "another grader is at work there",
                    where=str(self.directory),
                    hint="wait for its end, or choose another --out",
                ) from None
            yield
        finally:
            os.close(lock)

    def _exercise(self) -> str | None:
        """Whose results are there; None where there is none that says so."""
        for path in sorted(self._results.glob("*.json")):
            try:
                exercise = json.loads(path.read_bytes())["exercise"]
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if isinstance(exercise, str):
                return exercise
        return None

    @property
    def work(self) -> Path:
        """A directory for what lasts no longer than the run."""
        return self._state / "work"

    def write(self, learner: str, graded: Graded, page: str, made_from: str) -> Record:
        """Store a result. What says that it is finished comes last."""
        form = graded.report.as_json()
        record = Record(learner, graded.state, made_from, tuple(form["checks"]))
        result = {
            "exercise": form["exercise"],
            "learner": learner,
            "state": graded.state,
            "reason": graded.reason,
            "points": record.points,
            "max_points": record.max_points,
            "checks": form["checks"],
        }
        self._write(self._feedback / f"{learner}.html", page)
        self._write(
            self._results / f"{learner}.json", json.dumps(result, indent=1, ensure_ascii=False) + "\n"
        )
        remembered = {"digest": made_from, "state": graded.state}
        self._write(self._state / "learners" / f"{learner}.json", json.dumps(remembered) + "\n")
        return record

    def read(self, learner: str) -> Record | None:
        """A finished result; None where there is none, or not all of it."""
        try:
            remembered = json.loads((self._state / "learners" / f"{learner}.json").read_bytes())
            result = json.loads((self._results / f"{learner}.json").read_bytes())
            record = Record(learner, remembered["state"], remembered["digest"], tuple(result["checks"]))
            whole = record.state in get_args(State) and record.max_points >= (record.points or 0)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record if whole and (self._feedback / f"{learner}.html").is_file() else None

    def write_gradebook(self, table: str) -> Path:
        path = self.directory / "gradebook.csv"
        self._write(path, table)
        return path

    def _write(self, path: Path, text: str) -> None:
        # One place for all that is half written, so that nothing of it is ever taken for a result.
        new = self._state / "new" / f"{path.parent.name}-{path.name}"
        new.write_text(text, encoding="utf-8", errors="replace", newline="")
        os.replace(new, path)
