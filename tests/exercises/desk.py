"""A learner's desk: an exercise's directory and the engine that it is done on."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from labkernel.course import Checked, Lab, load_exercise, run_checks
from labkernel.engine.linux.namespaces import CLONE_NEWNET, setns
from tests.support.daemons import Daemon
from tests.support.executed import Executed, execute

T = TypeVar("T")


@dataclass(frozen=True)
class Desk:
    """`directory` is a copy of an exercise, as the learner has it."""

    daemon: Daemon
    directory: Path

    def run_notebook(self, *, allow_errors: bool = False) -> Executed:
        """Run the exercise's notebook in place, headless, from top to bottom."""
        return execute(self.daemon, load_exercise(self.directory).notebook, allow_errors=allow_errors)

    def check(self, *names: str) -> dict[str, Checked]:
        """The outcomes of all checks, or of those named, by the check's name."""
        exercise = load_exercise(self.directory)
        with closing(self.daemon.client()) as client:
            report = in_its_network(
                self.daemon, lambda: run_checks(exercise, Lab(client, self.directory), names)
            )
        return {checked.name: checked for checked in report.checks}

    def found_by(self, name: str) -> str:
        """The message of a check that must fail, whatever comes of those around it."""
        checked = self.check(name)[name]
        assert checked.outcome == "fail", checked
        return checked.message

    def outcomes(self, *names: str) -> dict[str, str]:
        """As `check`: {"image": "pass", ...}; with the message of what did not pass, for a test to show."""
        return {
            name: f"{checked.outcome}: {checked.message}" if checked.message else checked.outcome
            for name, checked in self.check(*names).items()
        }

    def docker(self, *words: str) -> str:
        """Run the stock client in the exercise's directory; what it prints. It must succeed."""
        done = self.daemon.docker(*words, cwd=self.directory)
        assert done.returncode == 0, f"docker {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def image(self, name: str, dockerfile: str, files: dict[str, bytes | str] | None = None) -> None:
        """Build an image from a Dockerfile's text and files, all given here."""
        context = io.BytesIO()
        with tarfile.open(fileobj=context, mode="w") as tar:
            for path, content in {"Dockerfile": dockerfile, **(files or {})}.items():
                data = content if isinstance(content, bytes) else content.encode()
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(data), 0o755
                tar.addfile(member, io.BytesIO(data))
        context.seek(0)
        with closing(self.daemon.client()) as client:
            client.images.build(fileobj=context, custom_context=True, tag=name, rm=True, forcerm=True)


def in_its_network(daemon: Daemon, function: Callable[[], T]) -> T:
    """Call `function` where the daemon's published ports are on localhost: in a thread that goes there."""

    def inside() -> T:
        with Path(f"/proc/{daemon.room.pid}/ns/net").open() as namespace:
            setns(namespace.fileno(), CLONE_NEWNET)
        return function()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(inside).result()
