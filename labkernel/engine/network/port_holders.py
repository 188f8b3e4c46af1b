"""Which process has a port open, read from /proc, for the message that says the port is taken."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

_TCP_LISTEN = "0A"


def socket_inodes(table: str, port: int, protocol: str) -> set[str]:
    """The inodes of the sockets bound to a port, from the text of /proc/net/{tcp,tcp6,udp,udp6} (proc(5)).

    Of TCP's only those that listen.
    """
    found = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10:
            continue
        local_port = int(fields[1].rpartition(":")[2], 16)
        if local_port == port and (protocol != "tcp" or fields[3] == _TCP_LISTEN):
            found.add(fields[9])
    return found


def processes_with(inodes: Iterable[str], proc: Path = Path("/proc")) -> list[tuple[int, str]]:
    """(process id, command name) of the processes that hold sockets, as far as this user may look."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    found = []
    for directory in proc.iterdir():
        if not directory.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for entry in os.scandir(directory / "fd"):
                if os.readlink(entry.path) in wanted:
                    name = (directory / "comm").read_text(errors="replace").strip()
                    found.append((int(directory.name), name))
                    break
    return sorted(found)


def holder_of(port: int, protocol: str) -> str:
    """Words for whoever holds a host port: "process nginx (pid 812)"."""
    inodes: set[str] = set()
    for suffix in ("", "6"):
        with contextlib.suppress(OSError):
            inodes |= socket_inodes(Path(f"/proc/net/{protocol}{suffix}").read_text(), port, protocol)
    holders = processes_with(inodes) if inodes else []
    if not holders:
        return "a process that this user cannot see" if inodes else "another program"
    pid, name = holders[0]
    return f"process {name} (pid {pid})"
