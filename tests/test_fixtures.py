"""The fixtures themselves: what they promise to the other tests."""

from __future__ import annotations

import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemons import Daemon, running
from tests.support.leaks import Leftovers, settled
from tests.support.room import Room
from tests.support.throwaway_user import throwaway_user


def test_a_container_runs_and_its_port_answers(docker_host: Daemon) -> None:
    ran = docker_host.docker("run", "--rm", "busybox", "echo", "hello")
    assert (ran.stdout, ran.returncode) == ("hello\n", 0), ran.stderr
    command = 'mkdir /www; echo "Hi, I am in your container!" > /www/index.html; httpd -f -h /www'
    docker_host.docker("run", "-d", "-p", "8080:80", "busybox", "sh", "-c", command)
    assert docker_host.curl(8080, "/index.html") == "Hi, I am in your container!\n"


def test_both_daemons_hold_the_same_image(docker_host: Daemon, dockerd: Daemon) -> None:
    ids = [daemon.docker("images", "-q", "--no-trunc").stdout for daemon in (docker_host, dockerd)]
    assert ids[0] == ids[1] != ""


def test_nothing_of_a_dockerd_is_left(root: None) -> None:
    with running("dockerd") as daemon:
        daemon.docker("run", "-d", "busybox", "sleep", "1000")
        directory, room = daemon.directory, daemon.room
    assert not directory.exists()
    assert not Path(f"/proc/{room.pid}").exists()
    assert list(Path("/sys/fs/cgroup").glob(f"*/labkernel-test-{room.pid}")) == []


@pytest.mark.parametrize(
    ("kind", "leak"),
    [
        ("processes", ["sh", "-c", "sleep 1000 & exit 0"]),
        ("mounts", ["mount", "-t", "tmpfs", "tmpfs", "/mnt"]),
        ("interfaces", ["ip", "link", "add", "bridge0", "type", "bridge"]),
        ("tables", ["nft", "add", "table", "ip", "left"]),
    ],
)
def test_what_is_left_behind_is_named(root: None, kind: str, leak: list[str]) -> None:
    room = Room()
    try:
        before = Leftovers.of(room)
        assert room.wait(room.start(leak, env={"PATH": "/usr/sbin:/usr/bin"}, log=Path("/dev/null")), 10) == 0
        with pytest.raises(AssertionError, match=f"left behind: {{ ?'{kind}'"):
            before.compare(settled(room, before, timeout=0))
    finally:
        room.close()


@pytest.mark.parametrize("subordinate_ids", [True, False])
def test_a_throwaway_user_runs_our_python_and_goes(root: None, tmp_path: Path, subordinate_ids: bool) -> None:
    with throwaway_user(subordinate_ids=subordinate_ids) as name:
        ranges = [
            line for line in Path("/etc/subuid").read_text().splitlines() if line.startswith(f"{name}:")
        ]
        assert bool(ranges) == subordinate_ids
        room = Room(name)
        log = tmp_path / "log"
        program = "import os, labkernel; print(os.getuid(), os.getcwd())"
        pid = room.start([sys.executable, "-c", program], env={}, log=log)
        assert room.wait(pid, 30) == 0, log.read_text()
        assert log.read_text() == f"{pwd.getpwnam(name).pw_uid} /home/{name}\n"
        room.close()
    with pytest.raises(KeyError):
        pwd.getpwnam(name)
    assert not Path(f"/home/{name}").exists()


def test_a_room_reaches_the_machine_and_beyond(root: None) -> None:
    """Packets leave the room by the machine's own default route."""
    room = Room()
    try:
        resolver = [
            line.split()[1]
            for line in Path("/etc/resolv.conf").read_text().splitlines()
            if line.startswith("nameserver")
        ]
        route = subprocess.run(["ip", "route", "get", resolver[0]], capture_output=True, text=True)
        assert route.returncode == 0
        assert "outside" in room.run(["ip", "route", "get", resolver[0]]).stdout
    finally:
        room.close()


def test_our_engine_runs_with_each_kind_of_privilege(any_engine: Daemon) -> None:
    ran = any_engine.docker("run", "--rm", "busybox", "id", "-u")
    assert (ran.stdout, ran.returncode) == ("0\n", 0), ran.stderr
