"""The engine as a process: started once, found, stopped; and what is said when that does not work."""

from __future__ import annotations

import concurrent.futures
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkernel import engine_process
from labkernel.commands import CommandError
from labkernel.engine_process import host_for, start, status, stop
from tests.support.room import wait_until


@pytest.fixture
def place(root: None) -> Iterator[Path]:
    """A directory for an engine, in memory; no engine is left in it."""
    directory = Path(tempfile.mkdtemp(prefix="lk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", directory], check=True)
    yield directory
    stop(directory)
    subprocess.run(["umount", directory], check=True)
    directory.rmdir()


def test_start_find_stop(place: Path) -> None:
    assert not status(place).running
    assert stop(place) is False
    address = start(place)
    assert address == f"unix://{place}/engine.sock"
    found = status(place)
    assert (found.running, found.host, found.root, found.rootless) == (True, address, str(place), False)
    assert os.getsid(found.pid) == found.pid, "it outlives whoever started it"
    assert start(place) == address
    assert status(place).pid == found.pid
    assert stop(place) is True
    assert not Path(f"/proc/{found.pid}").exists() or "Z" in Path(f"/proc/{found.pid}/stat").read_text()
    assert not Path(address.removeprefix("unix://")).exists()
    assert not status(place).running


def test_several_at_once_start_one(place: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        addresses = set(pool.map(lambda _: start(place), range(5)))
    assert len(addresses) == 1
    for _ in wait_until(10):
        running = subprocess.run(
            ["pgrep", "-fc", f"labkernel.engine.daemon {place}"], capture_output=True, text=True
        ).stdout.strip()
        if running == "1":
            break
    assert running == "1"


def test_the_socket_of_a_killed_engine_is_in_nobodys_way(place: Path) -> None:
    start(place)
    first = status(place).pid
    os.kill(first, signal.SIGKILL)
    for _ in wait_until(5):
        if not status(place).running:
            break
    assert (place / "engine.sock").exists()
    assert stop(place) is False
    start(place)
    assert status(place).pid != first


def test_only_its_owner_may_open_the_socket(place: Path) -> None:
    start(place)
    assert (place / "engine.sock").stat().st_mode & 0o777 == 0o600
    refused = subprocess.run(
        [
            "setpriv",
            "--reuid=65534",
            "--clear-groups",
            sys.executable,
            "-S",
            "-c",
            CONNECT,
            str(place / "engine.sock"),
        ],
        capture_output=True,
        text=True,
    )
    assert "PermissionError" in refused.stderr


CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"


def failure(root: Path, host: str | None = None) -> CommandError:
    with pytest.raises(CommandError) as error:
        start(root, host)
    return error.value


def test_a_directory_that_another_engine_has(place: Path) -> None:
    start(place)
    error = failure(place, f"unix://{place}/other.sock")
    assert error.what == f"the engine did not start: another engine works on {place}"
    assert "labkernel engine status" in str(error.hint)


def test_a_socket_that_another_engine_has(place: Path) -> None:
    address = start(place / "one", f"unix://{place}/s")
    assert start(place / "two", address) == address, "whoever listens there answers"
    stop(host=address)


def test_a_file_where_the_socket_should_be(place: Path) -> None:
    (place / "s").write_text("precious\n")
    error = failure(place, f"unix://{place}/s")
    assert f"{place}/s is there and is not a socket" in error.what
    assert (place / "s").read_text() == "precious\n"


def test_a_file_where_the_directory_should_be(place: Path) -> None:
    (place / "file").write_text("precious\n")
    error = failure(place / "file")
    assert str(place / "file") in error.what
    assert error.hint
    assert (place / "file").read_text() == "precious\n"


def test_an_address_that_is_too_long(place: Path) -> None:
    error = failure(place, f"unix://{place}/{'x' * 120}")
    assert "is too long for a unix socket" in error.what
    assert error.hint


def test_an_address_that_is_none(place: Path) -> None:
    error = failure(place, "tcp://127.0.0.1:2375")
    assert "is not an address an engine can listen on" in error.what
    assert error.hint == "unix://PATH"


def test_no_space(place: Path) -> None:
    (place / "fill").write_bytes(bytes(1000))
    subprocess.run(f"head -c 100m /dev/zero > {place}/fill", shell=True, stderr=subprocess.DEVNULL)
    error = failure(place)
    assert "No space left on device" in error.what or "disk is full" in error.what, error.what


ANOTHER = """
import http.server, os, socket, socketserver, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")
    def address_string(self):
        return "somebody"
socketserver.UnixStreamServer(sys.argv[1], Handler).serve_forever()
"""


def test_another_program_behind_the_socket_is_left_alone(place: Path) -> None:
    """It answers everything, as a dockerd or a proxy does."""
    other = subprocess.Popen(
        [sys.executable, "-S", "-c", ANOTHER, str(place / "engine.sock")], stderr=subprocess.DEVNULL, cwd="/"
    )
    try:
        for _ in wait_until(10):
            if (place / "engine.sock").exists():
                break
        assert not status(place).running
        assert "another engine listens on" in failure(place).what
        with pytest.raises(match="is another program"):
            stop(place)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_where_the_engine_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LABKERNEL_ROOT", raising=False)
    assert host_for(tmp_path) == f"unix://{tmp_path}/engine.sock"
    assert host_for() == "unix:///run/labkernel/engine.sock"
    monkeypatch.setenv("LABKERNEL_ROOT", str(tmp_path))
    assert engine_process.default_root() == tmp_path
    assert host_for() == f"unix://{tmp_path}/engine.sock"


def test_it_ends_on_sigterm_with_its_containers_and_removes_its_socket(place: Path) -> None:
    address = start(place)
    pid = status(place).pid
    process = os.pidfd_open(pid)
    os.kill(pid, signal.SIGTERM)
    assert select.select([process], [], [], 20)[0]
    os.close(process)
    assert not Path(address.removeprefix("unix://")).exists()
    assert not status(place).running
    assert "Traceback" not in (place / "engine.log").read_text()
