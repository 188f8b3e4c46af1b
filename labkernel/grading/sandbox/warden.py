"""Process 1 of a sandbox: starts engine and runner, counts what is used, and ends what takes too much."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from glob import iglob
from itertools import chain
from pathlib import Path
from typing import Any

from labkernel.engine.linux.namespaces import CLONE_NEWPID, unshare
from labkernel.grading.sandbox import rootfs, runner
from labkernel.grading.sandbox.messages import receive, send

INTERVAL = 0.1
"""Seconds between two looks at what is used."""
ENGINE_SECONDS = 60.0
COUNT_SECONDS = 1.0
"""Seconds at least between two counts of what files take; if it takes long, it is done seldom."""
GIVING_BACK_SECONDS = 5.0
"""Seconds that the kernel may need to take a killed process's memory and children away."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


def watch(request: Mapping[str, Any], control: socket.socket, cells: socket.socket, output: int) -> None:
    """Run the sandbox until told to stop; never returns to what called it but to end the process."""
    _copy_files(request["name"])
    # Counted for each user of this user namespace. It holds what is started between two looks.
    most = 4 * request["limits"]["processes"]
    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
    engine = None
    if request["engine"]:
        lower = [f"{rootfs.LOWER}={request['images']}", *([rootfs.BASE] if request["base"] else [])]
        engine = _start_engine(lower)
        if problem := _wait_for_engine(engine):
            send(control, {"error": problem})
            return
    unshare(CLONE_NEWPID)  # for the one child that is still to come
    learner = os.fork()
    if learner == 0:
        control.close()
        runner.be(cells, output, f"{rootfs.HOME}/{request['name']}", request["limits"])
    cells.close()
    os.close(output)
    send(control, {"ready": True, "engine": engine.pid if engine else None})
    _Watch(control, engine, learner, request["limits"]).go_on()


def _copy_files(name: str) -> None:
    """The files of the exercise, for the learner to work on."""
    place = Path(rootfs.HOME, name)
    shutil.copytree(rootfs.FILES, place)
    if runner.has_learner():
        for path in (Path(rootfs.HOME), Path(f"/run/user/{rootfs.LEARNER}"), place, *place.rglob("*")):
            os.chown(path, rootfs.LEARNER, rootfs.LEARNER, follow_symlinks=False)


def _start_engine(lower: list[str]) -> subprocess.Popen[bytes]:
    with open(f"{rootfs.ENGINE}/engine.log", "ab") as log:
        engine = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "labkernel.engine.daemon"),
                *(word for place in rootfs.LEARNERS for word in ("--confined-to", place)),
                *(rootfs.ENGINE, f"unix://{rootfs.SOCKET}", *lower),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=runner.environment("/root"),
            start_new_session=True,
        )
    # Rather its containers than the warden, which has to say why they ended: children inherit it.
    Path(f"/proc/{engine.pid}/oom_score_adj").write_text("500")
    return engine


def _wait_for_engine(engine: subprocess.Popen[bytes]) -> str:
    """Until it answers; else why it does not. Its socket is then there for the learner too."""
    end = time.monotonic() + ENGINE_SECONDS
    while time.monotonic() < end:
        if engine.poll() is not None:
            said = Path(f"{rootfs.ENGINE}/engine.log").read_text(errors="replace").strip().splitlines()
            return f"the sandbox's engine did not start: {' '.join(said[-3:])}"
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.settimeout(0.5)
            probe.connect(rootfs.SOCKET)
            probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            if not probe.recv(16).startswith(b"HTTP/1.1 200"):
                continue
            os.chmod(rootfs.SOCKET, 0o666)
            os.chmod(os.path.dirname(rootfs.SOCKET), 0o755)
            return ""
        time.sleep(0.01)
    return "the sandbox's engine did not answer in time"


class _Watch:
    def __init__(
        self,
        control: socket.socket,
        engine: subprocess.Popen[bytes] | None,
        learner: int,
        limits: Mapping[str, Any],
    ) -> None:
        self._control = control
        self._engine = engine
        self._learner: int | None = learner
        self._limits = limits
        self._disk = _DiskUse(limits["disk"])
        self._most = 0

    def go_on(self) -> None:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        while True:
            message = receive(self._control) if poll.poll(INTERVAL * 1000) else {}
            if message is None:
                return
            if "kill" in message:
                self._kill_learner()
            if "stop" in message:
                self._stop()
                return
            self._reap()
            if reason := self._too_much():
                self._tell({"limit": reason})
                self._kill_learner()
                end = time.monotonic() + GIVING_BACK_SECONDS
                while self._too_much():
                    if time.monotonic() > end:
                        return  # what took it was not the learner's process: all of it goes
                    time.sleep(INTERVAL)
                    self._reap()
            if "look" in message:  # what was to be told of it is told by now
                self._tell({"looked": True})

    def _too_much(self) -> str:
        """Why what there is of processes, memory or files is too much, "" when it is not."""
        processes, most_memory = self._limits["processes"], self._limits["memory"]
        count, memory = _use()
        self._most = max(self._most, count)
        # A little below the limits: at them the kernel refuses, and each program says that in its own way.
        if count >= processes * 0.9:
            return f"started too many processes ({processes} are the limit)"
        if memory > most_memory * 0.9 and _proportional_memory() > most_memory * 0.9:
            return self._out_of_memory()
        return self._disk.too_much()

    def _out_of_memory(self) -> str:
        # Which limit a bomb of processes meets first is chance; what is said of it is not.
        if self._most >= self._limits["processes"] // 4:
            return f"started too many processes ({self._limits['processes']} are the limit)"
        return f"used more than {self._limits['memory'] >> 20} MiB of memory"

    def _reap(self) -> None:
        """Collect what has ended: process 1 inherits all orphans."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._learner:
                self._learner = None
                if os.waitstatus_to_exitcode(status) == -signal.SIGKILL:  # not by us: the kernel
                    self._tell({"limit": self._out_of_memory()})
                self._tell({"ended": os.waitstatus_to_exitcode(status)})
            if self._engine and pid == self._engine.pid:
                self._engine.returncode = os.waitstatus_to_exitcode(status)
                self._tell({"engine": self._engine.returncode})

    def _kill_learner(self) -> None:
        if self._learner is not None:
            os.kill(self._learner, signal.SIGKILL)
            self._learner = None

    def _stop(self) -> None:
        """End the engine so that its directory can be built upon."""
        self._kill_learner()
        if self._engine and self._engine.returncode is None:
            self._engine.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._engine.wait(30)

    def _tell(self, message: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            send(self._control, message)


def _processes() -> Iterator[str]:
    return (name for name in os.listdir("/proc") if name.isdigit())


def _use() -> tuple[int, int]:
    """Processes of the sandbox (threads are some too), and bytes of memory, what they share once for each."""
    count = memory = 0
    for name in _processes():
        with contextlib.suppress(OSError, ValueError, IndexError):
            # proc(5), from field 3
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            count += int(fields[17])
            memory += int(fields[21]) * _PAGE
    return count, memory


def _proportional_memory() -> int:
    """Bytes, what is shared divided by those who share it (proc(5), smaps_rollup).

    Where that may not be read, as an ordinary user's warden may not, half of what was there at birth counts;
    so it does for forks of this program: to look into many that are forking takes longer than they do.
    """
    total = 0
    born_with, program = _resident("self"), os.readlink("/proc/self/exe")
    for name in _processes():
        with contextlib.suppress(OSError, ValueError, IndexError):
            with contextlib.suppress(PermissionError):
                if os.readlink(f"/proc/{name}/exe") != program:
                    text = Path(f"/proc/{name}/smaps_rollup").read_text()
                    total += int(text.partition("\nPss:")[2].split()[0]) << 10
                    continue
            resident = _resident(name)
            total += resident - min(resident, born_with) // 2
    return total


def _resident(name: str) -> int:
    return int(Path(f"/proc/{name}/statm").read_text().split()[1]) * _PAGE


class _DiskUse:
    """Looks at the file system's free space, which is quick, and counts when that has fallen; and now and
    then, since others on it may free what is taken here.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._free = self._free_now()
        self._next = time.monotonic() + COUNT_SECONDS

    @staticmethod
    def _free_now() -> int:
        found = os.statvfs(rootfs.HOME)
        return found.f_bavail * found.f_frsize

    def too_much(self) -> str:
        begun = time.monotonic()
        if begun < self._next and self._free - self._free_now() < self._limit:
            return ""
        used = 0
        for size in chain(sizes_below(rootfs.HOME), sizes_below(rootfs.ENGINE), sizes_of_deleted()):
            used += size
            if used > self._limit:  # of so many files one need not see all
                return f"wrote more than {self._limit >> 20} MiB of files"
        now = time.monotonic()
        self._next = now + max(COUNT_SECONDS, 20 * (now - begun))
        return ""


def sizes_below(place: str) -> Iterator[int]:
    """Bytes that each directory and each file takes on the disk."""
    for directory, _, names in os.walk(place):
        for path in (directory, *(os.path.join(directory, name) for name in names)):
            with contextlib.suppress(OSError):
                yield os.lstat(path).st_blocks * 512


def sizes_of_deleted() -> Iterator[int]:
    """Bytes that each file takes that has no name any more, and is open."""
    seen = set()
    for descriptor in iglob("/proc/[0-9]*/task/*/fd/*"):
        with contextlib.suppress(OSError):
            found = os.stat(descriptor)
            if found.st_nlink == 0 and (key := (found.st_dev, found.st_ino)) not in seen:
                seen.add(key)
                yield found.st_blocks * 512
