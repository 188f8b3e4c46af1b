from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.daemons import Daemon
from tests.support.source_tree import REPOSITORY


@dataclass(frozen=True)
class Grader:
    """Whoever an engine belongs to: `place` is a directory of theirs for all that is graded."""

    engine: Daemon
    place: Path

    def run(self, module: str, arguments: Sequence[str], *, timeout: float = 200) -> tuple[int, str, str]:
        """`python -m module arguments` as that user, in the room of the engine: status, stdout, stderr."""
        pid = self.start(module, arguments)
        code = self.engine.room.wait(pid, timeout)
        return code, (self.place / "stdout").read_text(), (self.place / "stderr").read_text()

    def start(self, module: str, arguments: Sequence[str]) -> int:
        """The same, not waited for: the process id."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "XDG_"))},
            "LABKERNEL_ROOT": str(self.engine.root),
            "PYTHONPATH": str(REPOSITORY),
            "HOME": str(self.place),
        }
        command = 'exec "$0" -m "$@" >stdout 2>stderr'
        return self.engine.room.start(
            ["sh", "-c", f"cd {self.place}; {command}", sys.executable, module, *arguments],
            env=environment,
            log=self.place / "log",
        )

    def give(self, path: Path) -> None:
        """Make a file or directory theirs."""
        if self.engine.room.user:
            for part in (path, *path.rglob("*")):
                shutil.chown(part, self.engine.room.user, self.engine.room.user)


@pytest.fixture(params=["engine", "user_engine"])
def grader(request: pytest.FixtureRequest) -> Iterator[Grader]:
    """A grader as root, then as an ordinary user."""
    engine: Daemon = request.getfixturevalue(request.param)
    where_graders_look = engine.root / "engine.sock"
    where_graders_look.unlink(missing_ok=True)
    where_graders_look.symlink_to(engine.socket)
    with tempfile.TemporaryDirectory(prefix="grader-", ignore_cleanup_errors=True) as place:
        made = Grader(engine, Path(place))
        made.give(made.place)
        yield made
    where_graders_look.unlink()
    engine.clear()
