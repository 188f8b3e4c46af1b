"""Clients that take and do not give back: a fresh request is answered, and the memory does not grow."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.daemons import Daemon
from tests.support.room import wait_until

STREAMS = 300
"""Of each kind; `python -m tests.bench.streams` opens ten thousand."""


@pytest.fixture
def talker(engine: Daemon) -> Iterator[str]:
    """A container that says nothing more, and stays."""
    made = engine.http.call("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "1000"]})
    name: str = made.json()["Id"]
    assert engine.http.call("POST", f"/containers/{name}/start").status == 204
    yield name
    engine.clear()


def opened(engine: Daemon, stack: ExitStack, request: bytes) -> socket.socket:
    """A connection on which a request was sent; nothing is read."""
    connection = stack.enter_context(socket.socket(socket.AF_UNIX))
    connection.settimeout(20)
    connection.connect(str(engine.socket))
    connection.sendall(request)
    return connection


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def is_answered(engine: Daemon, name: str) -> None:
    """The loop, the threads for files, and those for bodies that make progress are free."""
    for url in ("/_ping", "/images/json", f"/containers/{name}/top", f"/containers/{name}/logs?stdout=1"):
        assert engine.http.call("GET", url).status == 200


def test_uploads_that_stall_and_downloads_that_nobody_reads(engine: Daemon, talker: str) -> None:
    before = resident(engine.pid)
    with ExitStack() as stack:
        for _ in range(50):
            for url in ("/build", "/images/load", "/images/create?fromSrc=-"):
                head = f"POST {url} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
                opened(engine, stack, head.encode())
            opened(engine, stack, b"GET /images/busybox/get HTTP/1.1\r\nHost: x\r\n\r\n")
        is_answered(engine, talker)
        assert resident(engine.pid) - before < 200 << 20
    # They are gone, and so is what they held.
    saved = engine.http.call("GET", "/images/busybox/get")
    assert saved.status == 200
    assert len(saved.body) > 100_000


def test_many_streams(engine: Daemon, talker: str) -> None:
    requests = (
        "GET /events",
        f"GET /containers/{talker}/logs?follow=1&stdout=1",
        f"POST /containers/{talker}/attach?stream=1&stdout=1",
    )
    before, files = resident(engine.pid), len(list(Path(f"/proc/{engine.pid}/fd").iterdir()))
    with ExitStack() as stack:
        connections = [
            opened(engine, stack, f"{request} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            for request in requests
            for _ in range(STREAMS)
        ]
        for connection in connections:
            assert connection.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 101")
        is_answered(engine, talker)
        assert resident(engine.pid) - before < len(connections) * (64 << 10)
    for _ in wait_until(10):
        if len(list(Path(f"/proc/{engine.pid}/fd").iterdir())) <= files + 2:
            break


def test_a_json_body_without_end(engine: Daemon) -> None:
    with ExitStack() as stack:
        head = "POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        connection = opened(engine, stack, f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        with contextlib.suppress(OSError):
            for _ in range(2000):
                connection.sendall(chunk)
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"request body is larger than" in answer
