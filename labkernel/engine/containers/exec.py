"""`docker exec`: one more process in a running container."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from labkernel.engine.containers import config as container_config
from labkernel.engine.containers import field_types
from labkernel.engine.containers.bundle import ROOT
from labkernel.engine.containers.container import Container
from labkernel.engine.containers.containers import Containers
from labkernel.engine.containers.lifecycle import EXIT_CODES
from labkernel.engine.containers.stdio import Stdio
from labkernel.engine.errors import Conflict, InvalidParameter, NotFound
from labkernel.engine.runtime.capabilities import container_capabilities
from labkernel.engine.runtime.client import Launcher, Started, StartFailed
from labkernel.engine.runtime.spec import process_spec

KEPT_SECONDS = 300
"""How long an ended exec can still be inspected, as dockerd keeps it."""
MOST_WAITING = 100
"""Execs of one container that may wait for their start; of more, the oldest are forgotten."""


@dataclass
class Exec:
    """A process that is to run, runs, or has run; `exit_code` is None until it ended."""

    id: str
    container: Container
    config: dict[str, Any]
    stdio: Stdio
    process: Started | None = None
    running: bool = False
    started: bool = False
    exit_code: int | None = None

    @property
    def shown(self) -> str:
        """The command as events have it: what follows the program, even nothing, comes after a space."""
        program, *arguments = self.config["Cmd"]
        return f"{program} {' '.join(arguments)}"

    def describe(self) -> dict[str, Any]:
        """`GET /exec/{id}/json`."""
        command = self.config["Cmd"]
        process: dict[str, Any] = {
            "tty": self.config["Tty"],
            "entrypoint": command[0],
            "arguments": command[1:],
            "privileged": self.config["Privileged"],
        }
        if self.config["User"]:
            process["user"] = self.config["User"]
        return {
            "ID": self.id,
            "Running": self.running,
            "ExitCode": self.exit_code,
            "ProcessConfig": process,
            "OpenStdin": self.config["AttachStdin"],
            "OpenStderr": self.config["AttachStderr"],
            "OpenStdout": self.config["AttachStdout"],
            "CanRemove": False,
            "ContainerID": self.container.id,
            "DetachKeys": self.config["DetachKeys"],
            "Pid": self.process.pid if self.process is not None else 0,
        }


_CONFIG: dict[str, Any] = {
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "Privileged": False,
    "User": "",
    "WorkingDir": "",
    "DetachKeys": "",
    "Env": None,
    "Cmd": None,
}


class Execs:
    def __init__(self, containers: Containers, launcher: Launcher) -> None:
        self._containers = containers
        self._launcher = launcher
        # A container has those that wait or run; one that is removed takes them along.
        self._by_id: WeakValueDictionary[str, Exec] = WeakValueDictionary()

    def get(self, exec_id: str) -> Exec:
        """Raises NotFound."""
        found = self._by_id.get(exec_id)
        if found is None or found.container.id not in {c.id for c in self._containers.all()}:
            raise NotFound(f"No such exec instance: {exec_id}")
        return found

    def create(self, container: Container, body: dict[str, Any]) -> Exec:
        """Raises InvalidParameter, Conflict, Forbidden."""
        field_types.check(body, field_types.EXEC)
        given = {key: body[key] if body.get(key) is not None else default for key, default in _CONFIG.items()}
        if not given["Cmd"]:
            raise InvalidParameter("No exec command specified")
        if self._containers.confinement:
            self._containers.confinement.check_privileged(given)
        if container.state.status == "paused":
            raise Conflict(f"Container {container.name} is paused, unpause the container before exec")
        made = Exec(
            secrets.token_hex(32), container, given, Stdio(terminal=given["Tty"], stdin=given["AttachStdin"])
        )
        waiting = [key for key, known in container.execs.items() if not known.started]
        for key in waiting[: max(0, len(waiting) - MOST_WAITING + 1)]:
            del container.execs[key]
        self._by_id[made.id] = container.execs[made.id] = made
        self._containers.lifecycle.publish(container, f"exec_create: {made.shown}", execID=made.id)
        return made

    def check_startable(self, asked: Exec) -> None:
        """Raises Conflict: it has run already, or its container does not run."""
        if asked.started:
            raise Conflict(f"Error: Exec command {asked.id} has already run")
        if not asked.container.state.running:
            raise Conflict(f"Container {asked.container.id} is not running")

    async def start(self, asked: Exec, terminal_size: tuple[int, int] | None = None) -> None:
        """Start the process; its output goes to whoever has tapped `asked.stdio`.

        Raises:
            InvalidParameter, System: it cannot start, in runc's words.
        """
        self.check_startable(asked)
        asked.started = True
        container, given = asked.container, asked.config
        privileged = given["Privileged"] or container.host_config["Privileged"]
        _, no_new_privileges = container_config.security_options(container.host_config)
        inherited = container_config.environment(
            container.config | {"Tty": given["Tty"]}, container.link_environment
        )
        process = process_spec(
            given["Cmd"],
            env=_merged(inherited, given["Env"] or []),
            cwd=given["WorkingDir"] or container.config["WorkingDir"] or "/",
            user=given["User"] or container.config["User"] or ROOT,
            additional_groups=container.host_config["GroupAdd"] or (),
            terminal=given["Tty"],
            capabilities=container_capabilities(
                container.host_config["CapAdd"] or (),
                container.host_config["CapDrop"] or (),
                privileged=privileged,
            ),
            privileged=privileged,
            no_new_privileges=no_new_privileges,
        )
        stdin, stdout, stderr = asked.stdio.open()
        try:
            started = await self._launcher.exec(
                container.id, asked.id, process, stdin, stdout, stderr, terminal_size=terminal_size
            )
        except BaseException as failure:
            asked.stdio.failed()
            if not isinstance(failure, StartFailed):
                raise
            asked.exit_code = EXIT_CODES.get(failure.kind, 126)
            self._forget_later(asked)
            if failure.kind == "bad_user":
                raise InvalidParameter(failure.message) from None
            raise InvalidParameter(
                "OCI runtime exec failed: exec failed: unable to start container process: "
                f"{failure.message}: unknown"
            ) from None
        asked.stdio.started(started.terminal)
        asked.process, asked.running = started, True
        self._containers.lifecycle.publish(container, f"exec_start: {asked.shown}", execID=asked.id)
        asyncio.get_running_loop().create_task(self._settle(asked, started))

    async def _settle(self, asked: Exec, started: Started) -> None:
        asked.exit_code = await started.exited
        asked.running = False
        asked.container.execs.pop(asked.id, None)
        await asked.stdio.finish()
        self._containers.lifecycle.publish(
            asked.container, "exec_die", execID=asked.id, exitCode=str(asked.exit_code)
        )
        self._forget_later(asked)

    def _forget_later(self, asked: Exec) -> None:
        asked.container.execs.pop(asked.id, None)
        asyncio.get_running_loop().call_later(KEPT_SECONDS, lambda: asked)  # what it refers to stays as long


def _merged(inherited: list[str], given: list[str]) -> list[str]:
    merged = {entry.partition("=")[0]: entry for entry in [*inherited, *given] if "=" in entry}
    return list(merged.values())
