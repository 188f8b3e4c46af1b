"""The disk is full: what cannot be done says so, what runs goes on, and afterwards all is well."""

from __future__ import annotations

import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.daemons import Daemon, running
from tests.support.room import wait_until


@pytest.fixture(scope="module")
def small(root: None) -> Iterator[Daemon]:
    """An engine on a file system of its own, of 48 MB."""
    directory = Path(tempfile.mkdtemp(prefix="sm-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755,size=48m", "tmpfs", directory], check=True)
    try:
        with running("labkernel", directory=directory) as daemon:
            yield daemon
    finally:
        subprocess.run(["umount", directory], check=True)
        directory.rmdir()


@pytest.fixture
def full(small: Daemon) -> Iterator[Daemon]:
    """The engine with a container `up` that echoes its input, and then not a byte free."""
    small.docker("run", "-di", "--name", "up", "busybox", "cat")
    fill = small.directory / "fill"
    with fill.open("wb") as file:
        subprocess.run(
            ["head", "-c", "100m", "/dev/zero"], stdout=file, stderr=subprocess.DEVNULL, check=False
        )
    yield small
    fill.unlink(missing_ok=True)
    small.clear()


def test_nothing_new_can_be_made_and_nothing_is_left_of_it(full: Daemon) -> None:
    refused = full.docker("run", "--name", "new", "busybox", "true")
    assert refused.returncode != 0
    assert "No space left on device" in refused.stderr or "disk is full" in refused.stderr, refused.stderr
    for args in (("commit", "up", "mine"), ("tag", "busybox", "other"), ("volume", "create", "data")):
        assert full.docker(*args).returncode in (0, 1)
    (full.directory / "fill").unlink()
    again = full.docker("run", "--rm", "--name", "fresh", "busybox", "echo", "well")
    assert again.stdout == "well\n", again.stderr
    half_made = {path.name for path in (full.root / "containers").iterdir()}
    known = set(full.docker("ps", "-aq", "--no-trunc").stdout.split())
    assert half_made == known


def test_room_can_be_made(full: Daemon) -> None:
    fill = full.directory / "fill"
    fill.unlink()
    for args in (
        ("run", "--name", "dead", "busybox", "true"),
        ("create", "--name", "made", "-v", "/data", "busybox"),
        ("volume", "create", "data"),
        ("network", "create", "net"),
        ("commit", "dead", "image"),
    ):
        assert full.docker(*args).returncode == 0
    for args in (
        ("rm", "-v", "made"),
        ("rm", "dead"),
        ("rm", "-f", "up"),
        ("volume", "rm", "data"),
        ("network", "rm", "net"),
        ("rmi", "image"),
    ):
        with fill.open("ab") as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        done = full.docker(*args)
        assert done.returncode == 0, (args, done.stderr)
    assert full.docker("ps", "-aq").stdout == ""


def test_what_runs_goes_on_and_its_end_is_noticed(full: Daemon) -> None:
    with full.http.hijack("/containers/up/attach?stream=1&stdin=1&stdout=1") as stream:
        for number in range(200):
            stream.send(f"{number} {'x' * 200}\n".encode())
        received = stream.read_until(b"199 " + b"x" * 200 + b"\n")
        assert received.endswith(b"199 " + b"x" * 200 + b"\n")
    full.http.call("POST", "/containers/up/kill")
    for _ in wait_until(10):
        shown = full.http.call("GET", "/containers/up/json").json()["State"]
        if not shown["Running"]:
            break
    assert (shown["Status"], shown["ExitCode"]) == ("exited", 137)
    assert full.http.call("POST", "/containers/up/wait").json() == {"StatusCode": 137}


def test_a_restart_of_the_engine_with_a_full_disk(full: Daemon) -> None:
    full.kill()
    for _ in wait_until(10):
        if not full.room.left():
            break
    (full.directory / "fill").unlink()
    full.start()
    assert "Exited (137)" in full.docker("ps", "-a", "--format", "{{.Status}}").stdout
    assert full.docker("run", "--rm", "busybox", "echo", "well").stdout == "well\n"


def test_an_image_that_does_not_fit(small: Daemon) -> None:
    build = "FROM busybox\nRUN head -c 100m /dev/zero > /big\n"
    failed = small.docker("build", "-t", "big", "-", input=build)
    assert failed.returncode != 0
    assert small.docker("images", "-q", "big").stdout == ""
    assert list((small.root / "tmp").iterdir()) == []
    assert small.docker("run", "--rm", "busybox", "echo", "well").stdout == "well\n"


@pytest.mark.parametrize(
    "call",
    [
        "POST /build",
        "POST /images/load",
        "POST /images/create?fromSrc=-",
        "PUT /containers/up/archive?path=/",
    ],
)
def test_a_body_without_end(small: Daemon, call: str) -> None:
    small.docker("create", "--name", "up", "busybox", "true")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(small.socket))
        connection.sendall(f"{call} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        with suppress(BrokenPipeError, ConnectionResetError):
            send_chunk(connection, header(8 << 30))
            for _ in range(16000):  # 1 GB, far more than there is place for
                send_chunk(connection, bytes(65536))
        answer = b""
        with suppress(ConnectionResetError):
            while more := connection.recv(65536):
                answer += more
    assert b"no space left on device" in answer.lower(), answer
    removed = small.docker("rm", "-f", "up")
    assert removed.returncode == 0, removed.stderr
    assert list((small.root / "tmp").iterdir()) == []
    assert (
        small.docker("images", "-q").stdout.split() == small.docker("images", "-q", "busybox").stdout.split()
    )
    ran = small.docker("run", "--rm", "busybox", "echo", "well")
    assert ran.stdout == "well\n", ran.stderr


def header(size: int) -> bytes:
    """Of a tar's file of that size."""
    info = tarfile.TarInfo("large")
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def send_chunk(connection: socket.socket, data: bytes) -> None:
    connection.sendall(b"%x\r\n%b\r\n" % (len(data), data))
