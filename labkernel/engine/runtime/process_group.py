"""A container without control groups, as its processes: paused by signals, measured from /proc.

Signals are a second best: a program can notice that it was stopped (SIGCHLD, a shell's job control), where
the freezer leaves no trace.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from labkernel.engine.errors import System
from labkernel.engine.runtime.cgroup_stats import NANOSECONDS_PER_TICK

STOP_SECONDS = 5.0
_AT_REST = "TtZXx"
"""States of proc_pid_stat(5) in which a process does nothing: stopped, traced, a zombie, dead."""


def stop(processes: Callable[[], Sequence[int]]) -> None:
    """Stop every process, also those that are born meanwhile. Raises System when some do not stop."""
    deadline = time.monotonic() + STOP_SECONDS
    while running := [pid for pid in processes() if (fields := _stat(pid)) and fields[0] not in _AT_REST]:
        if time.monotonic() > deadline:
            resume(processes())
            raise System(f"cannot pause: process {running[0]} does not stop")
        _signal(running, signal.SIGSTOP)
        time.sleep(0.002)


def resume(processes: Iterable[int]) -> None:
    """Let them go on."""
    _signal(processes, signal.SIGCONT)


def measure(processes: Iterable[int]) -> dict[str, Any]:
    """cpu_stats, memory_stats, pids_stats and blkio_stats, as far as /proc tells.

    The time of a process that has ended is its parent's once that has waited for it. Memory that processes
    share is divided between them (proc_pid_smaps_rollup(5), Pss).
    """
    user = system = memory = threads = 0
    for pid in processes:
        fields = _stat(pid)
        if fields:
            user += int(fields[11]) + int(fields[13])
            system += int(fields[12]) + int(fields[14])
            threads += int(fields[17])
            memory += _memory(pid, int(fields[21]))
    user, system = user * NANOSECONDS_PER_TICK, system * NANOSECONDS_PER_TICK
    usage = {"total_usage": user + system, "usage_in_kernelmode": system, "usage_in_usermode": user}
    return {
        "cpu_stats": {"cpu_usage": usage, "throttling_data": dict.fromkeys(_THROTTLING, 0)},
        "memory_stats": {"usage": memory, "stats": {}},
        "pids_stats": {"current": threads},
    }


_THROTTLING = ("periods", "throttled_periods", "throttled_time")


def _signal(processes: Iterable[int], number: int) -> None:
    for pid in processes:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; [] for a process that is no more."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()


def _memory(pid: int, resident_pages: int) -> int:
    """Bytes."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return resident_pages * os.sysconf("SC_PAGE_SIZE")
