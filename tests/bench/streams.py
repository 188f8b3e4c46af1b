"""`python -m tests.bench.streams [COUNT]`: many open streams, what each takes, how fast others are served.

Ten thousand by default: events, followed logs and attached clients by turns, over the unix socket.
"""

from __future__ import annotations

import resource
import socket
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from tests.support.daemons import Daemon, running


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with running("labkernel") as daemon, ExitStack() as stack:
        name = daemon.docker("run", "-d", "busybox", "sleep", "1000").stdout.strip()
        requests = (
            "GET /events",
            f"GET /containers/{name}/logs?follow=1&stdout=1",
            f"POST /containers/{name}/attach?stream=1&stdout=1",
        )
        print(f"before: {_pings(daemon)}, {_resident(daemon) >> 20} MB")
        before, begun, refused = _resident(daemon), time.perf_counter(), 0
        for number in range(count):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(str(daemon.socket))
            connection.sendall(f"{requests[number % len(requests)]} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            refused += connection.recv(12) not in (b"HTTP/1.1 200", b"HTTP/1.1 101")
        took = time.perf_counter() - begun
        grown = _resident(daemon) - before
        files = len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))
        print(f"{count} streams in {took:.1f} s, {refused} refused, {files} open files")
        print(f"each: {grown / count / 1024:.1f} KB; all: {_resident(daemon) >> 20} MB")
        print(f"with them: {_pings(daemon)}")
        begun = time.perf_counter()
        ran = daemon.docker("run", "--rm", "busybox", "echo", "hi")
        print(
            f"docker run with them: {ran.stdout.strip()} in {time.perf_counter() - begun:.2f} s {ran.stderr}"
        )
        stack.close()
        print(f"after: {_pings(daemon)}")
        daemon.clear()
    return 0


def _resident(daemon: Daemon) -> int:
    """Bytes of memory that the engine's process holds."""
    return int(Path(f"/proc/{daemon.pid}/statm").read_text().split()[1]) * 4096


def _pings(daemon: Daemon) -> str:
    taken = []
    for _ in range(100):
        begun = time.perf_counter()
        assert daemon.http.call("GET", "/_ping").status == 200
        taken.append(time.perf_counter() - begun)
    return f"a fresh ping takes {statistics.median(taken) * 1000:.1f} ms, at most {max(taken) * 1000:.0f} ms"


if __name__ == "__main__":
    sys.exit(main())
