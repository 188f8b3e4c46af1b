"""The slides' command: a container that shares the socket of a screen, and is let in or not."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labkernel.display import Screen, change_access, connect, start
from tests.support.daemons import Daemon
from tests.support.screens import clock_image, until, wait_for_window, windows_on
from tests.support.source_tree import REPOSITORY

IMAGE = "clock"


@pytest.fixture(params=["engine", "user_engine", "dockerd"])
def host(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """Our engine as root and as an ordinary user, then Docker's, with an image that has xclock."""
    daemon: Daemon = request.getfixturevalue(request.param)
    imported = daemon.docker("import", "-", IMAGE, input=clock_image(), text=False)
    assert imported.returncode == 0, imported.stderr
    yield daemon
    daemon.clear()


@contextmanager
def screen_of(host: Daemon, log: Path) -> Iterator[Screen]:
    """A screen of the user whose engine it is."""
    if not host.room.user:
        started = start(480, 360)
        yield started
        started.stop()
        return
    program = "import json, time; from labkernel.display import start; s = start(480, 360); "
    program += (
        "print(json.dumps([s.number, s.width, s.height, s.pid, s.owner, str(s.directory)]), flush=True); "
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
    environment["XDG_RUNTIME_DIR"] = str(host.directory)
    owner = host.room.start([sys.executable, "-c", program + "time.sleep(300)"], env=environment, log=log)
    until(lambda: log.exists() and log.read_text().endswith("\n"), "no screen")
    *numbers, directory = json.loads(log.read_text())
    found = Screen(*numbers, directory=Path(directory))
    yield found
    os.kill(owner, signal.SIGTERM)
    until(lambda: not found.directory.exists(), "the screen stays")


def test_who_is_let_in(host: Daemon, tmp_path: Path) -> None:
    with screen_of(host, tmp_path / "log") as screen:
        shared = ["-e", f"DISPLAY={screen.name}", "-v", "/tmp/.X11-unix:/tmp/.X11-unix"]

        def run(*options: str) -> None:
            ran = host.docker("run", "-d", "--name", "clock", *options, *shared, IMAGE, "xclock")
            assert ran.returncode == 0, ran.stderr

        def remove() -> None:
            host.docker("rm", "-f", "clock")
            until(lambda: not windows_on(screen), "a window stays")

        def is_refused(*options: str) -> None:
            run(*options)
            assert host.docker("wait", "clock", timeout=30).stdout.strip() == "1"
            assert f"Can't open display: {screen.name}" in host.docker("logs", "clock").stderr
            remove()

        def is_seen(*options: str) -> None:
            run(*options)
            assert wait_for_window(screen, "xclock").width == 164
            remove()

        is_refused()
        is_refused("--network", "host")  # there it finds the socket by its abstract name too
        with connect(screen) as connection:
            change_access(connection, "+")
            is_seen()
            change_access(connection, "-")
        is_refused()
        # The cookie, in a container whose host has another name.
        is_seen("-h", "elsewhere", "-e", "XAUTHORITY=/cookie", "-v", f"{screen.authority}:/cookie:ro")
