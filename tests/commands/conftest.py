"""Commands as the notebook runs them: no terminal, no input unless given, output kept."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from labkernel.commands import Recorder, Result, connect, execute, parse
from tests.support.daemons import Daemon


class Ran(Recorder):
    """A command that ran: what it showed while it ran, and its result."""

    result: Result

    @property
    def printed(self) -> str:
        """All of standard output, as a terminal would have it."""
        text = self.result.text
        return self.stdout.decode() + (f"{text}\n" if text else "")


class Commands:
    """Runs our commands against one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.client = connect(daemon.url)
        self.last = Ran()

    def __call__(self, *argv: str, stdin: bytes | None = None) -> Ran:
        """Run `docker *argv`. Raises CommandError; `last` then holds what was shown before."""
        self.last = Ran()
        self.last.stdin = None if stdin is None else io.BytesIO(stdin)
        self.last.result = execute(self.client, parse(argv), self.last)
        return self.last


@pytest.fixture
def run(docker_host: Daemon) -> Iterator[Commands]:
    """Our commands, against our engine and against Docker's."""
    commands = Commands(docker_host)
    yield commands
    commands.client.close()
