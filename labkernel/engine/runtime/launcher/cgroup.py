"""What the launcher does to cgroups: it carries out the plan that `runtime.cgroups` made. Nothing is decided
here.

A plan is {"create": directories, outermost first; "write": [file, value, warning when it fails or ""];
"join": files that the process writes 0 to (v1); "into": the directory to be born in (v2); "device_program":
hexadecimal BPF (v2); "thaw": [file, value] pairs; "oom": files that count kills; "remove": directories, those
made later included}.
"""

from __future__ import annotations

import errno
import os
import signal
import time

from labkernel.engine.linux import bpf
from labkernel.engine.runtime.launcher.story import Refused

#: How long the processes of a killed container may take to leave its cgroups.
REMOVAL_SECONDS = 10.0

TYPE_CHECKING = False  # typing itself is not loaded: each page of memory costs every fork
if TYPE_CHECKING:
    from typing import Any


def create(plan: dict[str, Any]) -> list[str]:
    """Make the container's cgroups and set their limits. Returns warnings; raises Refused for a limit that
    cannot be.
    """
    warnings = []
    for directory in plan["create"]:
        _make(directory)
    # Device rules are many writes to one file, which stays open meanwhile.
    opened, fd = "", -1
    try:
        for path, value, warning in plan["write"]:
            try:
                if path != opened:
                    if opened:
                        os.close(fd)
                        opened = ""
                    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
                    opened = path
                os.write(fd, value.encode())
            except OSError as error:
                if not warning:
                    reason = f"failed to write {value!r} to {path}: {error.strerror}"
                    raise Refused("other", reason) from None
                warnings.append(warning)
    finally:
        if opened:
            os.close(fd)
    if plan["device_program"]:
        bpf.attach_device_program(plan["into"], bytes.fromhex(plan["device_program"]))
    return warnings


def _make(directory: str) -> None:
    """A fresh directory: what a container of the same name has just left would still count for it."""
    deadline = time.monotonic() + REMOVAL_SECONDS
    while True:
        try:
            os.mkdir(directory, 0o755)
        except FileExistsError:
            if time.monotonic() > deadline:
                raise
            try:
                os.rmdir(directory)
            except OSError:
                time.sleep(0.001)
        else:
            return


def write(path: str, value: str) -> None:
    """One write(2) of the whole value, as cgroup files want it."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def join(plan: dict[str, Any]) -> None:
    """Move the calling process into the cgroups (v1; with v2 it is born there)."""
    for path in plan["join"]:
        write(path, "0")


def out_of_memory_kills(plan: dict[str, Any]) -> int:
    """How many of the container's processes the kernel killed because its memory was used up."""
    for path in plan["oom"]:
        try:
            with open(path) as file:
                for line in file:
                    if line.startswith("oom_kill "):
                        return int(line.split()[1])
        except OSError:
            continue
    return 0


def members(plan: dict[str, Any]) -> list[int]:
    """The processes in the cgroups."""
    for path in plan["join"] or ([plan["into"] + "/cgroup.procs"] if plan["into"] else []):
        try:
            with open(path) as file:
                return [int(line) for line in file if line.strip() != "0"]
        except OSError:
            continue
    return []


def thaw(plan: dict[str, Any]) -> None:
    """Let frozen processes go on."""
    for path, value in plan["thaw"]:
        try:
            write(path, value)
        except OSError:  # never frozen: there is no such group
            continue


def kill_members(plan: dict[str, Any]) -> None:
    """SIGKILL for every process in the cgroups, frozen ones included."""
    thaw(plan)
    for pid in members(plan):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def remove(plan: dict[str, Any]) -> bool:
    """Remove the cgroups; False while a process is still leaving one of them."""
    gone = True
    for directory in plan["remove"]:
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            continue
        except OSError as error:
            # Whatever else is wrong with it will not change by trying again.
            gone = gone and error.errno != errno.EBUSY
    return gone
