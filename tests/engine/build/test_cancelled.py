"""A client that goes in the middle of its build: what was being done ends, and leaves nothing behind."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engine.distribution.gate import Gate
from tests.engine.distribution.servers import RegistryProcess
from tests.engine.test_crash import (
    SEVERAL,
    Traces,
    context,
    in_the_room,
    many_files,
    reached,
    something_half_made,
)
from tests.support.daemons import Daemon
from tests.support.room import wait_until


@pytest.fixture
def untouched(engine: Daemon) -> Iterator[None]:
    """After the test there may be no process, mount, file or interface that was not there before."""
    engine.docker("run", "--rm", "busybox", "true")
    before = Traces.of(engine)
    yield
    engine.clear()
    for _ in wait_until(10, 0.1):
        left = Traces.of(engine).beyond(before)
        if not left:
            return
    raise AssertionError(f"left behind: {left}")


@contextmanager
def building(daemon: Daemon, tar: bytes, length: int | None = None) -> Iterator[Callable[[bytes], None]]:
    """A build whose client goes at the end of the block; the function waits until it has said a text."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30)
    connection.connect(str(daemon.socket))
    head = "POST /build?t=cut HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\n"
    connection.sendall(f"{head}Content-Length: {length or len(tar)}\r\n\r\n".encode() + tar)
    received = b""

    def said(text: bytes) -> None:
        nonlocal received
        while text not in received:
            more = connection.recv(65536)
            assert more, received
            received += more

    with connection:
        yield said


def processes(daemon: Daemon, words: str) -> int:
    return sum(words in command for _, command in daemon.room.left())


def test_while_the_context_arrives(engine: Daemon, untouched: None) -> None:
    tar = context({"Dockerfile": b"FROM busybox\nCOPY tree /tree\n", **many_files()})
    with building(engine, tar[: len(tar) // 2], len(tar)):
        reached(lambda: any((engine.root / "tmp").iterdir()))


def test_in_run_steps_side_by_side(engine: Daemon, untouched: None) -> None:
    dockerfile = (
        "FROM busybox AS one\nRUN echo 1 > /1\nRUN exec sleep 4242\n"
        "FROM busybox AS two\nRUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/t exec sleep 4243\n"
        "FROM one\nCOPY --from=two /x /\n"
    )
    with building(engine, context({"Dockerfile": dockerfile.encode()})):
        reached(lambda: processes(engine, "sleep 424") == 2)
    reached(lambda: processes(engine, "sleep 424") == 0)
    assert engine.docker("ps", "-aq").stdout == ""
    again = context({"Dockerfile": b"FROM busybox AS one\nRUN echo 1 > /1\n"})
    assert b"Using cache" in engine.http.call("POST", "/build", again).body
    assert engine.http.call("POST", "/build/prune").status == 200


def test_in_a_copy_of_many_files(engine: Daemon, untouched: None) -> None:
    """The thread that copies may end its file; the step is not done all the same."""
    tar = context({"Dockerfile": b"FROM busybox\nCOPY tree /tree\n", **many_files()})
    half_made = something_half_made(engine)
    with building(engine, tar) as said:
        said(b"Step 2/2")
        reached(half_made)
    assert engine.docker("images", "-q", "cut").stdout == ""
    body = engine.http.call("POST", "/build?t=whole", tar).body
    assert b"Successfully tagged" in body
    counted = engine.docker("run", "--rm", "whole", "sh", "-c", "find /tree -type f | wc -l")
    assert counted.stdout == f"{SEVERAL}\n"


def test_in_a_pull(engine: Daemon, untouched: None) -> None:
    tar = context({"Dockerfile": b"FROM busybox\nCOPY tree /tree\n", **many_files()})
    with tempfile.TemporaryDirectory() as directory:
        registry = RegistryProcess(Path(directory), ours=True, inside=engine.room.inside)
        gate = in_the_room(engine, lambda: Gate(registry.domain, "from the registry", 200_000))
        try:
            engine.http.call("POST", f"/build?t={registry.domain}/x", tar)
            assert engine.docker("push", f"{registry.domain}/x").returncode == 0
            engine.clear()
            engine.docker("rmi", "busybox")
            dockerfile = f"FROM {gate.domain}/x\nRUN echo never\n"
            with building(engine, context({"Dockerfile": dockerfile.encode()})):
                assert gate.closed.wait(20)
            gate.open()
        finally:
            gate.close()
            registry.stop()
    assert engine.docker("images", "-q").stdout == ""
