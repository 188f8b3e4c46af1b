"""A container's /etc/resolv.conf, made from the host's (resolv.conf(5))."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

#: What Docker falls back to when the host names no server that a container can reach.
DEFAULT_NAMESERVERS = ("8.8.8.8", "8.8.4.4")
#: systemd-resolved listens on the loopback and keeps the real servers' list here.
SYSTEMD_RESOLVED = Path("/run/systemd/resolve/resolv.conf")


def read_host_resolv_conf(*, through_loopback: bool = False, etc: Path = Path("/etc/resolv.conf")) -> str:
    """The host's file, or "". `through_loopback`: for a process that shares the host's loopback."""
    host = _text(etc)
    if not through_loopback and not usable_nameservers(host) and "nameserver 127.0.0.53" in host:
        return _text(SYSTEMD_RESOLVED) or host
    return host


def _text(path: Path) -> str:
    try:
        found = path.stat()
        return _text_of(path, found.st_ino, found.st_mtime_ns)
    except OSError:
        return ""


@lru_cache(4)
def _text_of(path: Path, inode: int, modified: int) -> str:
    """Read once for each version of the file: every container's start asks."""
    return path.read_text(errors="replace")


def container_resolv_conf(host: str, *, nameservers: Sequence[str] = ()) -> str:
    """The host's file as a container with its own loopback can use it.

    Servers on the loopback are unreachable from there, and so are IPv6 ones without IPv6: both are dropped,
    as Docker drops them; all else is kept. `nameservers` replace the host's.
    """
    kept = [line.rstrip() for line in host.splitlines() if not _is_nameserver(line)]
    usable = list(nameservers) or usable_nameservers(host) or list(DEFAULT_NAMESERVERS)
    lines = [*(line for line in kept if line), *(f"nameserver {server}" for server in usable)]
    return "\n".join(lines) + "\n"


def usable_nameservers(host: str) -> list[str]:
    """The servers of the file that are IPv4 and not on the loopback."""
    return [server for server in nameservers(host) if not ipaddress.IPv4Address(server).is_loopback]


def nameservers(host: str) -> list[str]:
    """The servers of the file that are IPv4."""
    found = []
    for line in host.splitlines():
        if _is_nameserver(line):
            with contextlib.suppress(IndexError, ValueError):
                found.append(str(ipaddress.IPv4Address(line.split()[1])))
    return found


def _is_nameserver(line: str) -> bool:
    return line.split()[:1] == ["nameserver"]
