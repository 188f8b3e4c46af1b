"""The engine's networks as an ordinary user: root of a user namespace and of nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.engine.network.lone_engine import PORT
from tests.engine.network.places import fetch, says, tcp_server
from tests.support.room import Room, wait_until
from tests.support.source_tree import REPOSITORY

WORLD_PORT = 7777


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that other users reach, as those of `tmp_path` are not."""
    with tempfile.TemporaryDirectory(prefix="labkernel-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def user_engine(
    user: str, directory: Path, *, programs: list[str], tun: bool = True
) -> Iterator[tuple[Room, int, dict[str, Any]]]:
    """(room, process id, report) of the engine, which finds only `programs` on its PATH."""
    home, path = directory / "home", directory / "path"
    for made in (home, path):
        made.mkdir()
    shutil.chown(home, user)
    for program in programs:
        found = shutil.which(program)
        assert found, f"{program} is not installed"
        (path / program).symlink_to(found)
    device = directory / "tun"
    os.mknod(device, stat.S_IFCHR, os.makedev(10, 200))
    device.chmod(0o666 if tun else 0o600)
    room = Room(user=user)
    try:
        in_mounts = ["nsenter", f"--mount=/proc/{room.pid}/ns/mnt"]
        subprocess.run([*in_mounts, "mount", "--bind", str(device), "/dev/net/tun"], check=True)
        log = directory / "log"
        with tcp_server(f"/proc/{room.pid}/ns/net", WORLD_PORT, says(b"world")):
            pid = room.start(
                [
                    *[shutil.which("unshare") or "unshare", "--user", "--map-root-user", "--mount"],
                    *[sys.executable, "-m", "tests.engine.network.lone_engine"],
                    *[str(home), "user", own_address(room), str(WORLD_PORT)],
                ],
                env={"PATH": str(path), "PYTHONPATH": str(REPOSITORY)},
                log=log,
            )
            report = home / "report.json"
            for _ in wait_until(30):
                assert room.poll(pid) is None, log.read_text()
                if report.exists():
                    break
            yield room, pid, json.loads(report.read_text())
            assert "Traceback" not in log.read_text()
    finally:
        room.close()


def own_address(room: Room) -> str:
    """The room's address on its wire to the machine: to a container it is the outside world."""
    shown = json.loads(room.run(["ip", "-4", "-j", "address", "show", "outside"]).stdout)
    address: str = shown[0]["addr_info"][0]["local"]
    return address


@pytest.mark.parametrize("program", ["pasta", "slirp4netns"])
def test_the_outside_is_reached(user_with_one_id: str, place: Path, program: str) -> None:
    with user_engine(user_with_one_id, place, programs=[program]) as (room, pid, report):
        assert report["outside"] == "world"
        assert report["warnings"] == [[], [], []]
        assert report["container"] == "web"
        assert report["host address"] == own_address(room), "which containers reach: it is the outside here"
        assert "nameserver 10.0.2.3" in report["web"]["resolv_conf"]
        assert not [limit for limit in report["limits once used"] if "outside" in limit]
        assert any(program in command for _, command in room.left())
        os.kill(pid, signal.SIGKILL)
        for _ in wait_until(5):
            if not room.left():
                break
        else:
            pytest.fail(f"left behind: {room.left()}")


def test_ending_it_ends_everything(user_with_one_id: str, place: Path) -> None:
    with user_engine(user_with_one_id, place, programs=["pasta"]) as (room, pid, _):
        os.kill(pid, signal.SIGTERM)
        assert room.wait(pid, 10) == 0
        assert room.left() == []
        assert room.run(["ip", "-br", "link"]).stdout.count("\n") == 2


def test_ports_are_published(user_with_one_id: str, place: Path) -> None:
    with user_engine(user_with_one_id, place, programs=[]) as (room, _, report):
        netns = f"/proc/{room.pid}/ns/net"
        for address in ("127.0.0.1", "::1", own_address(room)):
            assert fetch(address, PORT, netns=netns) == b"web"
        message, hint = report["low port"]
        assert message.endswith("listen tcp4 0.0.0.0:80: bind: permission denied")
        assert "ports below 1024" in hint


def test_what_is_missing_is_told(user_with_one_id: str, place: Path) -> None:
    with user_engine(user_with_one_id, place, programs=[]) as (_, _, report):
        assert report["container"] == "web"
        assert report["outside"] != "world"
        assert any("install pasta" in limit for limit in report["limits"])


def test_a_closed_tun_device_is_told(user_with_one_id: str, place: Path) -> None:
    with user_engine(user_with_one_id, place, programs=["pasta", "slirp4netns"], tun=False) as (
        _,
        _,
        report,
    ):
        assert report["container"] == "web"
        assert any("/dev/net/tun" in limit for limit in report["limits"])
        [on_a_bridge], *others = report["warnings"]
        assert "do not reach the outside world" in on_a_bridge
        assert "labkernel engine status" in on_a_bridge
        assert others == [[], []]
