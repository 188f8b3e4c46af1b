"""When a process was started: with its number that names it for good, for numbers are given again."""

from __future__ import annotations

from pathlib import Path


def started(pid: int) -> str:
    """The start time in clock ticks since boot (proc_pid_stat(5), field 22), "" where there is no such
    process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
