"""The life of a screen: started, found, ended, and what is left of it: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from labkernel.display import DisplayError, Screen, connect, find, screens, start
from labkernel.display import screen as module
from labkernel.display.run_directory import run_directory
from tests.support.room import Room
from tests.support.screens import until
from tests.support.source_tree import REPOSITORY

_START = (
    "from labkernel.display import start; s = start(200, 150);"
    "print(s.number, s.pid, s.directory, flush=True);"
)


def runs(pid: int) -> bool:
    return Path(f"/proc/{pid}/status").exists()


def keeper_of(screen: Screen) -> int:
    status = Path(f"/proc/{screen.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("PPid:")))


def socket_of(number: int) -> Path:
    return Path(f"/tmp/.X11-unix/X{number}")


def test_it_is_found_by_other_processes_of_its_user_and_leaves_nothing() -> None:
    screen = start(300, 200)
    keeper = keeper_of(screen)
    found = subprocess.run(
        [sys.executable, "-c", f"from labkernel.display import find; print(find({screen.number}))"],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    assert found.stdout.strip() == str(screen)
    assert screen.is_running
    assert socket_of(screen.number).is_socket()
    screen.stop()
    assert not screen.is_running
    assert not screen.directory.exists()
    assert not socket_of(screen.number).exists()
    assert not runs(screen.pid)
    assert find(screen.number) is None
    until(lambda: not runs(keeper), "the keeper goes on")
    with pytest.raises(DisplayError, match="has gone"):
        connect(screen)


def test_nobody_else_reads_its_cookie_or_its_pixels(screen: Screen) -> None:
    assert run_directory() == screen.directory.parent
    for directory in (screen.directory, screen.directory.parent):
        assert directory.stat().st_mode & 0o777 == 0o700
    assert screen.authority.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("send", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_the_process_that_started_it(send: signal.Signals) -> None:
    """As Jupyter ends a kernel: the whole process group, at once."""
    owner = subprocess.Popen(
        [sys.executable, "-c", f"{_START} input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        start_new_session=True,
    )
    assert owner.stdout
    assert owner.stdin
    with owner.stdout, owner.stdin:
        number, pid, directory = owner.stdout.readline().split()
        os.killpg(owner.pid, send)
        owner.wait()
    until(lambda: not Path(directory).exists(), "the directory stays")
    assert not runs(int(pid))
    until(lambda: not socket_of(int(number)).exists(), "the socket stays")


def test_an_x_server_that_crashes_leaves_nothing(screen: Screen) -> None:
    os.kill(screen.pid, signal.SIGKILL)
    until(lambda: not screen.directory.exists(), "the directory stays")
    assert screen not in screens()


def test_what_a_killed_keeper_leaves_is_removed(screen: Screen) -> None:
    os.kill(keeper_of(screen), signal.SIGKILL)
    until(lambda: not runs(screen.pid), "Xvfb goes on")
    assert screen.directory.exists()
    assert screen not in screens()
    assert not screen.directory.exists()


def test_without_xvfb_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DisplayError, match="no Xvfb") as caught:
        start()
    assert "apt-get install xvfb" in str(caught.value.hint)


@pytest.mark.parametrize(("width", "height"), [(10, 600), (800, 9000)])
def test_a_size_that_makes_no_sense(width: int, height: int) -> None:
    with pytest.raises(DisplayError, match=f"{width}x{height} cannot be made"):
        start(width, height)


def test_what_xvfb_says_is_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "Xvfb").write_text("#!/bin/sh\necho 'Fatal server error: no luck' >&2; exit 1\n")
    (tmp_path / "Xvfb").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    before = set(run_directory().iterdir())
    with pytest.raises(DisplayError, match="did not start") as caught:
        start()
    assert caught.value.why == "Fatal server error: no luck"
    assert set(run_directory().iterdir()) == before


def test_an_ordinary_user_needs_a_place_for_the_socket(
    user_with_one_id: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Where root has made it as only root can use it, Xvfb would try numbers for ever."""
    module._make_place_for_sockets()
    log = tmp_path_factory.mktemp("user") / "log"
    program = f"import os; {_START} print(oct(os.stat(f'/tmp/.X11-unix/X{{s.number}}').st_mode)); s.stop()"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "HOME": "/nonexistent"}
    room = Room(user_with_one_id)
    try:
        into = ["nsenter", f"--mount=/proc/{room.pid}/ns/mnt"]
        mount = "mount -t tmpfs -o mode=755 tmpfs /tmp/.X11-unix"
        subprocess.run([*into, *mount.split()], check=True)
        pid = room.start([sys.executable, "-c", program], env=environment, log=log)
        assert room.wait(pid, 30) != 0
        assert "this user may not make a socket in /tmp/.X11-unix" in log.read_text()
        subprocess.run([*into, "umount", "/tmp/.X11-unix"], check=True)
        pid = room.start([sys.executable, "-c", program], env=environment, log=log)
        assert room.wait(pid, 30) == 0, log.read_text()
        assert log.read_text().splitlines()[-1] == "0o140777"  # any user of any container may knock
    finally:
        room.close()
