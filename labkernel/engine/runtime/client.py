"""The engine's side of the launcher: ask for containers, hear when they start and end.

One launcher process serves one engine (see `launcher.process`). Requests and answers are messages on a socket
pair; file descriptors travel with them. Everything here belongs to one asyncio loop.
"""

from __future__ import annotations

import asyncio
import json
import marshal
import os
import signal as signals
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkernel.engine.errors import System
from labkernel.engine.runtime import process_group, seccomp
from labkernel.engine.runtime.cgroups import Cgroups
from labkernel.engine.runtime.launcher.process import LARGEST_MESSAGE, mapped_ids
from labkernel.engine.runtime.spec import SECCOMP_ANNOTATION, Resources, resources_spec

#: The directory that `import labkernel` finds the package in.
PACKAGE_ROOT = Path(__file__).parents[3]
LAUNCHER = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from labkernel.engine.runtime.launcher.process import main; main(int(sys.argv[2]))"
)


LARGEST_SIZE = 0xFFFF
"""Rows or columns that a terminal can have (ioctl_tty(2))."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a process's birth: what was done, to what, and how long it took."""

    name: str
    detail: str
    microseconds: int


class StartFailed(Exception):
    """A process could not be started; nothing of it is left.

    `kind` is "not_found" (no such command: Docker's exit code 127), "not_executable" (126), "bad_cwd",
    "bad_user", "gone" (exec in a container that has ended) or "other"; `message` is what runc says of it
    ('exec: "x": executable file not found in $PATH'); `step` is the step that failed and `steps` are those
    before it.
    """

    def __init__(self, kind: str, message: str, step: str, steps: list[Step]) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.step = step
        self.steps = steps


@dataclass(slots=True)
class Started:
    """A running process. `exited` ends with its exit code, 128 + n where signal n ended it.

    `pid` is its number in the engine's process namespace. `terminal` is the master side of its terminal,
    which the caller owns and closes. `warnings` say what could not be had. `oom_killed` (for a container) is
    known once `exited` is done.
    """

    pid: int
    terminal: int | None
    exited: asyncio.Future[int]
    steps: list[Step] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    oom_killed: bool = False


class Launcher:
    """The launcher process and what it runs. Make one with `Launcher.start`."""

    def __init__(
        self, process: subprocess.Popen[bytes], connection: socket.socket, state_dir: Path, cgroups: Cgroups
    ) -> None:
        self._process = process
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._state_dir = state_dir
        self._cgroups = cgroups
        self._starting: dict[str, asyncio.Future[Started]] = {}
        self._running: dict[str, Started] = {}
        self._profiles: dict[str, str] = {}
        self._filter_files: dict[tuple[str, ...], list[str]] = {}
        self._cleaning: asyncio.Task[None] | None = None
        self._single_id = mapped_ids() == 1
        self._outgoing: deque[tuple[bytes, list[int]]] = deque()
        #: Done when the launcher has ended though nobody closed it; its containers have died with it.
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(connection, self._receive)

    @classmethod
    async def start(cls, state_dir: Path, cgroups: Cgroups | None = None) -> Launcher:
        """Start the launcher; what a killed engine with the same `state_dir` left running is killed and
        removed first.

        `state_dir` also keeps the compiled seccomp filters. `cgroups` are those found on the machine unless
        given.
        """
        state_dir.mkdir(parents=True, exist_ok=True)
        cgroups = cgroups or Cgroups.detect(state_dir)
        await asyncio.to_thread(cgroups.remove_stale)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", LAUNCHER, str(PACKAGE_ROOT), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={},
                start_new_session=True,  # a terminal's Ctrl-C is for the engine to act on
            )
        launcher = cls(process, ours, state_dir, cgroups)
        launcher._send({"do": "own", "directories": [str(path) for path in cgroups.tops()]}, [])
        return launcher

    @property
    def cgroup_version(self) -> str:
        """ "1" or "2" as /info says it, "" where there are no cgroups to use."""
        return self._cgroups.version

    def limits(self) -> list[str]:
        """What containers cannot have on this machine, a plain sentence each; for warnings."""
        return [*self._cgroups.limits(), *seccomp.limits()]

    @property
    def controllers(self) -> frozenset[str]:
        """The control group controllers that containers can be limited and measured with here."""
        return self._cgroups.controllers

    @property
    def filters_system_calls(self) -> bool:
        """Whether seccomp filters can be made here."""
        return not seccomp.limits()

    def unenforceable(self, resources: Resources) -> list[str]:
        """A warning for each of these limits that cannot be enforced here."""
        return list(self._cgroups.plan("", resources_spec(resources))["warnings"])

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
        """Start the container that `bundle`/config.json describes; returns when its command has been
        executed.

        The descriptors are the container's ends of its streams; the caller still owns them and closes its
        copies. None is /dev/null. With `process.terminal` they are ignored and `Started.terminal` is set;
        `terminal_size` is (rows, columns). Raises StartFailed.
        """
        spec = json.loads((bundle / "config.json").read_bytes())
        profile = spec.get("annotations", {}).get(SECCOMP_ANNOTATION, "unconfined")
        plan = self._cgroups.plan(container_id, spec["linux"]["resources"])
        request = {
            "do": "run",
            "key": container_id,
            "bundle": os.path.abspath(bundle),
            "spec": spec,
            "cgroup": plan,
            "filters": self._filters(profile, spec["process"]),
            "size": terminal_size and tuple(min(number, LARGEST_SIZE) for number in terminal_size),
        }
        self._profiles[container_id] = profile
        started = await self._start(request, (stdin, stdout, stderr), spec["process"]["terminal"])
        started.warnings += plan["warnings"]
        return started

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

        Raises StartFailed, of kind "gone" when the container is not running. `exec_id` must be no container's
        id.
        """
        request = {
            "do": "exec",
            "key": exec_id,
            "container": container_id,
            "process": json.loads(json.dumps(process)),  # marshal takes no subclasses
            "filters": self._filters(self._profiles.get(container_id, "default"), process),
            "size": terminal_size and tuple(min(number, LARGEST_SIZE) for number in terminal_size),
        }
        return await self._start(request, (stdin, stdout, stderr), process["terminal"])

    def kill(self, key: str, signal: int) -> None:
        """Send a signal to a container's first process, or to one that exec started, by its id.

        One that has ended is no error. SIGKILL ends a paused container too.
        """
        if key in self._running:
            self._send({"do": "kill", "key": key, "signal": int(signal)}, [])

    async def pause(self, container_id: str) -> None:
        """Stop every process of the container where it is. Raises errors.System when one does not stop."""
        if self._cgroups.freezes:
            await asyncio.to_thread(self._cgroups.freeze, container_id)
        else:
            await asyncio.to_thread(process_group.stop, lambda: self.processes(container_id))

    async def resume(self, container_id: str) -> None:
        """Undo `pause`."""
        if self._cgroups.freezes:
            await asyncio.to_thread(self._cgroups.thaw, container_id)
        else:
            process_group.resume(self.processes(container_id))

    async def update(self, container_id: str, resources: Resources) -> list[str]:
        """Change the limits of a running container; returns warnings. What `resources` does not limit stays
        as it is.

        Raises errors.System when the kernel refuses a value.
        """
        return await asyncio.to_thread(self._cgroups.update, container_id, resources_spec(resources))

    def stats(self, container_id: str) -> dict[str, Any]:
        """What the container has used: Docker's cpu_stats, memory_stats, pids_stats and blkio_stats (no
        network).
        """
        if self._cgroups.version:
            return self._cgroups.stats(container_id)
        return process_group.measure(self.processes(container_id))

    def processes(self, container_id: str) -> list[int]:
        """The container's process ids in the engine's process namespace, [] when it is not running."""
        if container_id not in self._running:
            return []
        return self._cgroups.processes(container_id) or _share_a_namespace(self._running[container_id].pid)

    async def close(self) -> None:
        """Kill what still runs, remove its cgroups, end the launcher."""
        if self._cleaning is not None:
            await self._cleaning
        self._disconnect()
        await asyncio.to_thread(self._process.wait)
        await asyncio.to_thread(self._cgroups.close)
        self._end_all()

    # Requests

    def _filters(self, profile: str, process: Mapping[str, Any]) -> list[str]:
        """The files of the system call filters for a process, in the order they are put on."""
        key = (profile, *process["capabilities"]["bounding"])
        if key not in self._filter_files:
            directory = self._state_dir / "seccomp"
            found = []
            if profile == "default":
                found.append(seccomp.default_filter(directory, process["capabilities"]["bounding"]))
            elif profile != "unconfined":
                found.append(seccomp.own_filter(directory, profile, process["capabilities"]["bounding"]))
            if self._single_id:
                found.append(seccomp.ownership_filter(directory))
            self._filter_files[key] = [str(path) for path in found if path is not None]
        return self._filter_files[key]

    async def _start(
        self, request: dict[str, Any], streams: tuple[int | None, ...], terminal: bool
    ) -> Started:
        if self._socket.fileno() < 0:
            raise System("the launcher has ended")
        if request["key"] in self._starting or request["key"] in self._running:
            raise System(f"{request['key']} runs already")
        if terminal:
            streams = (None, None, None)
        request["streams"] = [fd is not None for fd in streams]
        future: asyncio.Future[Started] = self._loop.create_future()
        self._starting[request["key"]] = future
        # The descriptors are copied now: the caller may close its own while the message waits to be sent.
        self._send(request, [os.dup(fd) for fd in streams if fd is not None])
        return await future

    def _send(self, request: dict[str, Any], fds: list[int]) -> None:
        """Send, or keep until the launcher takes it; the descriptors are closed once they are sent."""
        data = marshal.dumps(request)
        if len(data) > LARGEST_MESSAGE:
            memory = os.memfd_create("request", os.MFD_CLOEXEC)
            with os.fdopen(os.dup(memory), "wb") as file:
                file.write(data)
            os.lseek(memory, 0, os.SEEK_SET)
            data, fds = marshal.dumps({"do": "read"}), [memory, *fds]
        self._outgoing.append((data, fds))
        if len(self._outgoing) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._outgoing:
            data, fds = self._outgoing[0]
            try:
                socket.send_fds(self._socket, [data], fds)
            except BlockingIOError:
                self._loop.add_writer(self._socket, self._flush)
                return
            except OSError:  # the launcher is gone, which reading will find out
                pass
            self._outgoing.popleft()
            for fd in fds:
                os.close(fd)
        self._loop.remove_writer(self._socket)

    # Events

    def _receive(self) -> None:
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(
                    self._socket, LARGEST_MESSAGE * 2, 1, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            except ConnectionError:
                data, fds = b"", []
            if not data:
                self._lose()
                return
            event = marshal.loads(data)
            if event["event"] == "exited":
                self._exited(event)
            else:
                self._born(event, fds)

    def _born(self, event: dict[str, Any], fds: list[int]) -> None:
        future = self._starting.pop(event["key"], None)
        steps = [Step(*step) for step in event["steps"]]
        if event["event"] == "failed":
            self._profiles.pop(event["key"], None)
            if future is not None and not future.done():
                future.set_exception(StartFailed(event["kind"], event["message"], event["step"], steps))
            return
        started = Started(
            event["pid"], fds[0] if fds else None, self._loop.create_future(), steps, event["warnings"]
        )
        self._running[event["key"]] = started
        if future is not None and not future.done():
            future.set_result(started)
        else:  # whoever asked has given up: nobody would ever end it
            for fd in fds:
                os.close(fd)
            self.kill(event["key"], signals.SIGKILL)

    def _exited(self, event: dict[str, Any]) -> None:
        self._profiles.pop(event["key"], None)
        started = self._running.pop(event["key"], None)
        if started is not None and not started.exited.done():
            started.oom_killed = event["oom"]
            started.exited.set_result(event["code"])

    def _lose(self) -> None:
        """The launcher ended by itself. The kernel has killed what it ran (PR_SET_PDEATHSIG); its cgroups are
        left.
        """
        self._disconnect()
        self._cleaning = self._loop.create_task(self._clean_up())

    def _disconnect(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()

    async def _clean_up(self) -> None:
        await asyncio.to_thread(self._cgroups.remove_stale)
        await asyncio.to_thread(self._process.wait)
        self._end_all()
        if not self.lost.done():
            self.lost.set_result(None)

    def _end_all(self) -> None:
        for started in self._running.values():
            if not started.exited.done():
                started.exited.set_result(128 + signals.SIGKILL)
        self._running.clear()
        for future in self._starting.values():
            if not future.done():
                future.set_exception(System("the launcher has ended"))
        self._starting.clear()
        while self._outgoing:
            for fd in self._outgoing.popleft()[1]:
                os.close(fd)


def _share_a_namespace(pid: int) -> list[int]:
    """The processes in the process namespace of one of them: a container, where there are no cgroups."""
    try:
        namespace = os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return []
    if namespace == os.readlink("/proc/self/ns/pid"):
        return [pid]
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                if os.readlink(f"/proc/{name}/ns/pid") == namespace:
                    found.append(int(name))
            except OSError:
                continue
    return sorted(found)
