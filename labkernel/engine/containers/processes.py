"""`docker top`: a container's processes as the host's ps shows them."""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from collections.abc import Collection
from typing import Any

from labkernel.engine.errors import InvalidParameter, System

FULL = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
"""The columns of `ps -ef`."""


def top(pids: Collection[int], arguments: str) -> dict[str, Any]:
    """`{"Titles": columns, "Processes": rows}`; `-ef` needs no ps on this machine.

    Raises:
        InvalidParameter: ps does not understand the arguments, or would not show the PID column.
        System: there is no ps.
    """
    words = arguments.split()
    if words == ["-ef"]:
        return {"Titles": FULL, "Processes": [row for pid in sorted(pids) if (row := _row(pid))]}
    # Without -e ps leaves out what is on no terminal of ours: the pids are named, where ps lets us.
    ran = _run_ps([*words, "-q" + ",".join(map(str, sorted(pids)))])
    if ran.returncode:
        ran = _run_ps(words)
    if ran.returncode:
        said = ran.stderr.strip().splitlines()
        raise InvalidParameter(f"ps: {said[0] if said else f'exit status {ran.returncode}'}")
    return parse_ps(ran.stdout, pids)


def _run_ps(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["ps", *arguments], capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        raise System(
            "ps is not installed on this machine", hint="docker top without arguments works"
        ) from None


def parse_ps(output: str, pids: Collection[int]) -> dict[str, Any]:
    """The rows of `pids` out of what ps printed. Raises InvalidParameter without a PID column."""
    lines = output.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidParameter("Couldn't find PID field in ps output")
    column = titles.index("PID")
    rows = []
    for line in lines[1:]:
        fields = line.split(maxsplit=len(titles) - 1)
        if len(fields) > column and fields[column].isdigit() and int(fields[column]) in pids:
            rows.append(fields)
    return {"Titles": titles, "Processes": rows}


def _row(pid: int) -> list[str] | None:
    """One line of `ps -ef`, from proc(5); None when the process has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read().rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")
        uid = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
    name, fields = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
    ticks = os.sysconf("SC_CLK_TCK")
    used = (int(fields[11]) + int(fields[12])) / ticks
    with open("/proc/uptime", encoding="ascii") as file:
        uptime = float(file.read().split()[0])
    lasted = max(uptime - int(fields[19]) / ticks, 0.0)
    started = time.localtime(time.time() - lasted)
    return [
        _user(uid),
        str(pid),
        fields[1],
        str(int(100 * used / lasted)) if lasted >= 0.01 else "0",
        time.strftime("%H:%M" if lasted < 86_400 else "%b%d", started),
        _terminal(int(fields[4])),
        time.strftime("%H:%M:%S", time.gmtime(used)),
        command or f"[{name}]",
    ]


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _terminal(device: int) -> str:
    return f"pts/{os.minor(device)}" if os.major(device) == 136 else "?"
