"""Health checks: a command run in the container again and again, and what its results say.

As dockerd does it (moby, daemon/health.go): the time between two checks counts from the end of the first;
failures in the start period do not count; a container whose checks are halted (paused, ended) is unhealthy.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Mapping
from typing import Any

from labkernel.engine.containers.container import Container
from labkernel.engine.containers.exec import Exec, Execs
from labkernel.engine.containers.state import Health
from labkernel.engine.errors import EngineError
from labkernel.engine.runtime.client import Launcher
from labkernel.engine.timestamps import duration, elapsed, rfc3339

MOST_OUTPUT = 4096
"""Bytes of a check's output that are kept."""
_SECOND = 1_000_000_000
DEFAULTS = {"Interval": 30 * _SECOND, "Timeout": 30 * _SECOND, "StartPeriod": 0, "StartInterval": 5 * _SECOND}
"""Nanoseconds."""
DEFAULT_RETRIES = 3
SHELL = ("/bin/sh", "-c")


def command(config: Mapping[str, Any]) -> list[str]:
    """The command that checks a container with this Config; [] for one that is not checked."""
    kind, *words = (config.get("Healthcheck") or {}).get("Test") or ["NONE"]
    if kind == "CMD":
        return words
    if kind == "CMD-SHELL":
        return [*(config.get("Shell") or SHELL), *words]
    return []


class HealthChecks:
    """Runs the checks of every container that has one: started by `begin`, ended by `halt`."""

    def __init__(self, execs: Execs, launcher: Launcher, publish: Callable[[Container, str], None]) -> None:
        self._execs = execs
        self._launcher = launcher
        self._publish = publish
        self._running: dict[str, asyncio.Task[None]] = {}

    def begin(self, container: Container) -> None:
        """The container is running, and from now on it is checked if it says how."""
        words = command(container.config)
        if words:
            container.state.health = container.state.health or Health()
            task = asyncio.get_running_loop().create_task(
                self._watch(container, words, container.state.health)
            )
            self._running[container.id] = task

    def halt(self, container: Container) -> None:
        """The container is paused, or has ended."""
        task = self._running.pop(container.id, None)
        if task is not None:
            task.cancel()
            if container.state.health is not None:
                container.state.health.status = "unhealthy"

    async def _watch(self, container: Container, words: list[str], health: Health) -> None:
        check = container.config["Healthcheck"]
        started, loop_time = container.state.started_at, asyncio.get_running_loop().time
        start_ends = loop_time() + _seconds(check, "StartPeriod") - elapsed(started)
        interval = _seconds(check, "Interval")
        # dockerd's own default would make the first checks of a short interval the slowest ones.
        start_interval = _seconds(check, "StartInterval")
        start_interval = start_interval if check.get("StartInterval") else min(start_interval, interval)
        while True:
            early = health.status == "starting" and loop_time() < start_ends
            await asyncio.sleep(start_interval if early else interval)
            begun, counts = rfc3339(), loop_time() >= start_ends
            code, output = await self._run(container, words, _seconds(check, "Timeout"))
            before = health.status
            health.take(
                {"Start": begun, "End": rfc3339(), "ExitCode": code, "Output": output},
                counts=counts,
                retries=check.get("Retries") or DEFAULT_RETRIES,
            )
            if health.status != before:
                self._publish(container, f"health_status: {health.status}")

    async def _run(self, container: Container, words: list[str], timeout: float) -> tuple[int, str]:
        """One check: its exit code and output; -1 for one that could not be run or took longer than
        `timeout` seconds.
        """
        asked: Exec | None = None
        try:
            asked = self._execs.create(container, {"Cmd": words, "AttachStdout": True, "AttachStderr": True})
            tap = asked.stdio.tap()
            await self._execs.start(asked)
            output = bytearray()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    while piece := await tap.read():
                        output += piece[1][: MOST_OUTPUT + 1 - len(output)]
                    return asked.exit_code or 0, _text(output)
            self._launcher.kill(asked.id, signal.SIGKILL)
            asked.stdio.untap(tap)
            shown = f": {_text(output)}" if output else ""
            return -1, f"Health check exceeded timeout ({duration(round(timeout * _SECOND))}){shown}"
        except EngineError as error:
            return -1, error.message
        except asyncio.CancelledError:
            if asked is not None:
                self._launcher.kill(asked.id, signal.SIGKILL)
            raise


def _text(output: bytes | bytearray) -> str:
    more = "..." if len(output) > MOST_OUTPUT else ""
    return output[:MOST_OUTPUT].decode("utf-8", "replace") + more


def _seconds(check: Mapping[str, Any], name: str) -> float:
    return float(check.get(name) or DEFAULTS[name]) / _SECOND
