"""The engine's side of the launcher: ask for containers, hear when they start and end.

One launcher process serves one engine (see `launcher`). Requests and answers are messages on a socket pair; file
descriptors travel with them. Everything here belongs to one asyncio loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkernel.engine.runtime.spec import Resources


@dataclass(frozen=True)
class Step:
    """One step of a process's birth: what was done, to what, and how long it took."""

    name: str
    detail: str
    microseconds: int


class StartFailed(Exception):
    """A process could not be started; nothing of it is left.

    `kind` is "not_found" (no such command: Docker's exit code 127), "not_executable" (126), "bad_cwd" (127), "bad_user" or
    "other"; `message` is what runc says of it ('exec: "x": executable file not found in $PATH'); `step` is the step
    that failed and `steps` are those before it.
    """

    def __init__(self, kind: str, message: str, step: str, steps: list[Step]) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.step = step
        self.steps = steps


@dataclass
class Started:
    """A running process. `exited` ends with its exit code, 128 + n where signal n ended it.

    `pid` is its number in the engine's process namespace. `terminal` is the master side of its terminal, which the
    caller owns and closes. `oom_killed` is known once `exited` is done.
    """

    pid: int
    terminal: int | None
    exited: asyncio.Future[int]
    steps: list[Step] = field(default_factory=list)
    oom_killed: bool = False


class Launcher:
    """The launcher process and what it runs."""

    #: Done when the launcher has ended though nobody closed it; its containers have died with it.
    lost: asyncio.Future[None]

    @classmethod
    async def start(cls, state_dir: Path) -> Launcher:
        """Start the launcher; what a killed engine with the same `state_dir` left running is killed and removed first.

        `state_dir` also keeps the compiled seccomp filters.
        """
        raise NotImplementedError

    def limits(self) -> list[str]:
        """What containers cannot have on this machine, a plain sentence each; for warnings."""
        raise NotImplementedError

    @property
    def cgroup_version(self) -> str:
        """ "1" or "2" as /info says it, "" where there are no cgroups to use."""
        raise NotImplementedError

    async def run(
        self,
        container_id: str,
        bundle: Path,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        *,
        terminal_size: tuple[int, int] | None = None,
    ) -> Started:
        """Start the container that `bundle`/config.json describes; returns when its command has been executed.

        The descriptors are the container's ends of its streams; the caller still owns them and closes its copies.
        None is /dev/null. With `process.terminal` they are ignored and `Started.terminal` is set; `terminal_size` is (rows, columns).
        Raises StartFailed.
        """
        raise NotImplementedError

    async def exec(
        self,
        container_id: str,
        exec_id: str,
        process: Mapping[str, Any],
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        *,
        terminal_size: tuple[int, int] | None = None,
    ) -> Started:
        """Start one more process in a running container; `process` is what `spec.process_spec` makes.

        Raises StartFailed; KeyError when the container is not running.
        """
        raise NotImplementedError

    def kill(self, container_id: str, signal: int) -> None:
        """Send a signal to the container's first process. One that has ended meanwhile is no error; KeyError if unknown."""
        raise NotImplementedError

    def kill_exec(self, exec_id: str, signal: int) -> None:
        """Send a signal to a process that exec started."""
        raise NotImplementedError

    async def pause(self, container_id: str) -> None:
        """Freeze every process of the container. Raises errors.System where there is no freezer."""
        raise NotImplementedError

    async def resume(self, container_id: str) -> None:
        """Undo `pause`."""
        raise NotImplementedError

    async def update(self, container_id: str, resources: Resources) -> list[str]:
        """Change the limits of a running container; returns warnings."""
        raise NotImplementedError

    def stats(self, container_id: str) -> dict[str, Any]:
        """What the container has used: Docker's cpu_stats, memory_stats, pids_stats and blkio_stats (no network)."""
        raise NotImplementedError

    def processes(self, container_id: str) -> list[int]:
        """The container's process ids in the engine's process namespace."""
        raise NotImplementedError

    async def close(self) -> None:
        """Kill what still runs, remove its cgroups, end the launcher."""
        raise NotImplementedError
