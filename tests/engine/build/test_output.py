"""What RUN prints when nobody reads it, or not fast enough: the command waits, and the engine stays small."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.engine.build.conftest import context_tar
from tests.support.daemons import Daemon
from tests.support.room import wait_until

FLOOD = "FROM busybox\nRUN exec yes flood-of-this-test\n"
MEBIBYTE = 1 << 20


def resident(pid: int) -> int:
    """Bytes of a process's memory that are in RAM (proc(5), statm)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def floods() -> list[int]:
    """The processes that print what FLOOD prints."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            if b"flood-of-this-test" in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def post_build(daemon: Daemon, query: str = "") -> socket.socket:
    """Ask for a build of FLOOD; the answer is the caller's to read, or not."""
    body = context_tar({"Dockerfile": FLOOD})
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(str(daemon.socket))
    head = f"POST /build?{query} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-tar\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


def growth(daemon: Daemon, seconds: float) -> int:
    """The most that the daemon grows within some seconds of a flood."""
    before = resident(daemon.pid)
    largest, deadline = 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        largest = max(largest, resident(daemon.pid) - before)
        time.sleep(0.05)
    return largest


def ends() -> bool:
    return any(not floods() for _ in wait_until(10))


def test_a_client_that_does_not_read_makes_the_command_wait(engine: Daemon) -> None:
    with post_build(engine) as connection:
        assert any(floods() for _ in wait_until(10))
        assert growth(engine, 2) < 30 * MEBIBYTE
        # Others are served meanwhile, and the stalled one gets all that it asks for once it reads.
        assert engine.http.call("GET", "/_ping").status == 200
        read = 0
        while read < 20 * MEBIBYTE:
            read += len(connection.recv(MEBIBYTE))
    assert ends()
    engine.clear()


def test_a_client_slower_than_the_command_makes_it_wait(engine: Daemon) -> None:
    with post_build(engine) as connection:
        assert any(floods() for _ in wait_until(10))
        before, deadline = resident(engine.pid), time.monotonic() + 2
        while time.monotonic() < deadline:
            connection.recv(1 << 16)
            time.sleep(0.02)
        assert resident(engine.pid) - before < 30 * MEBIBYTE
    assert ends()
    engine.clear()


@pytest.mark.parametrize("query", ["q=1", "q=0"])
def test_a_flood_ends_with_its_client(engine: Daemon, query: str) -> None:
    """Also a quiet build, which says nothing before its end and keeps little of what there is to say."""
    with post_build(engine, query):
        assert any(floods() for _ in wait_until(10))
        assert growth(engine, 1) < 30 * MEBIBYTE
    assert ends()
    engine.clear()
