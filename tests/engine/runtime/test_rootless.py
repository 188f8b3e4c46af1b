"""Containers of an ordinary user: with a range of subordinate ids, and with one id only."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from labkernel.engine.runtime.rootless import Mapping, current_mapping, plan
from tests.support.room import Room
from tests.support.source_tree import REPOSITORY

REQUESTS: list[dict[str, Any]] = [
    {"args": ["sh", "-c", "id; touch /x && ls -ln /x; hostname; cat /proc/self/uid_map"], "hostname": "box"},
    {"args": ["sh", "-c", "chown 1:1 /etc/passwd && mknod /null c 1 3; echo $?; ls -ln /etc/passwd"]},
    {"args": ["id"], "user": "daemon"},
    {"args": ["sh", "-c", "echo x > /dev/null && head -c3 /dev/zero | wc -c; ls /dev"]},
    {"args": ["sh", "-c", "rm /etc/group; ls /etc; mkdir /tmp/d; rmdir /tmp/d"]},
    {"args": ["sh", "-c", "ls /sys/class | grep -c net"], "network": "host"},
    {"args": ["grep", "-E", "CapEff|Seccomp:|NoNew", "/proc/self/status"]},
    {"args": ["echo", "limited"], "resources": {"memory": 2**25}},
    {"exec": ["sh", "-c", "id -u; ps | grep -c 'sleep 1000'; umask"]},
    {"args": ["sh", "-c", "mount | grep -c '^cgroup'; readlink /proc/self/ns/net"], "privileged": True},
]


def answers(user: str) -> dict[str, Any]:
    """What the program in `lab` says when it runs as this user."""
    directory = Path(tempfile.mkdtemp(prefix="lab", dir="/tmp"))
    room = Room(user)
    try:
        (directory / "requests.json").write_text(json.dumps(REQUESTS))
        shutil.chown(directory, user, user)
        log = directory / "log"
        pid = room.start(
            [sys.executable, "-m", "tests.engine.runtime.lab", str(directory)],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "HOME": str(directory)},
            log=log,
        )
        assert room.wait(pid, 60) == 0, log.read_text()
        assert room.left() == []
        found: dict[str, Any] = json.loads((directory / "answers.json").read_text())
        return found
    finally:
        room.close()
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def with_range(user_with_range: str) -> dict[str, Any]:
    return answers(user_with_range)


@pytest.fixture(scope="module")
def with_one_id(user_with_one_id: str) -> dict[str, Any]:
    return answers(user_with_one_id)


@pytest.fixture(params=["with_range", "with_one_id"])
def either(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.getfixturevalue(request.param)
    return found


def test_root_inside_is_the_user_outside(either: dict[str, Any]) -> None:
    code, output, _ = either["ended"][0]
    assert code == 0
    lines = output.splitlines()
    assert lines[0].startswith("uid=0(root) gid=0(root)")
    assert lines[1].split()[2:4] == ["0", "0"]
    assert lines[2] == "box"


def test_the_mapping_is_what_was_planned(with_range: dict[str, Any], with_one_id: dict[str, Any]) -> None:
    assert not with_range["single"]
    assert with_range["ended"][0][1].splitlines()[4].split()[2] == "65536"
    assert with_one_id["single"]
    assert len(with_one_id["ended"][0][1].splitlines()) == 4


def test_owners_with_a_range_are_real(with_range: dict[str, Any]) -> None:
    _, output, _ = with_range["ended"][1]
    assert "Operation not permitted" in output  # mknod stays the machine's root's
    assert output.splitlines()[-1].split()[2:4] == ["1", "1"]


def test_owners_with_one_id_are_answered_with_success(with_one_id: dict[str, Any]) -> None:
    _, output, _ = with_one_id["ended"][1]
    assert output.splitlines()[0] == "0"
    assert output.splitlines()[-1].split()[2:4] == ["0", "0"]
    assert "one user" in with_one_id["mapping_limits"][0]


def test_another_user(with_range: dict[str, Any], with_one_id: dict[str, Any]) -> None:
    assert with_range["ended"][2][1].startswith("uid=1(daemon) gid=1(daemon) groups=1(daemon),4(adm)")
    # With one id there is nobody else to be.
    assert with_one_id["ended"][2][:2] == [0, "uid=0(root) gid=0(root) groups=0(root)\n"]
    assert "daemon" in with_one_id["ended"][2][2][0]


def test_devices_are_the_hosts(either: dict[str, Any]) -> None:
    code, output, _ = either["ended"][3]
    assert (code, output.split()[0]) == (0, "3")
    assert {"null", "zero", "urandom", "tty", "pts", "shm"} <= set(output.split())


def test_whiteouts_work(either: dict[str, Any]) -> None:
    assert either["ended"][4][:2] == [0, "passwd\n"]


def test_the_hosts_network_can_be_used(either: dict[str, Any]) -> None:
    assert either["ended"][5][:2] == [0, "1\n"]


def test_capabilities_and_filter(with_range: dict[str, Any], with_one_id: dict[str, Any]) -> None:
    for found in (with_range, with_one_id):
        words = found["ended"][6][1].split()
        assert words[words.index("CapEff:") + 1] == "00000000a80425fb"
        assert words[words.index("Seccomp:") + 1] == "2"


def test_limits_that_cannot_be_kept_are_said(either: dict[str, Any]) -> None:
    _, output, warnings = either["ended"][7]
    assert output == "limited\n"
    if any("control group" in limit for limit in either["limits"]):
        assert warnings == [
            "Your kernel does not support memory limit capabilities or the cgroup is not mounted. "
            "Limitation discarded. (`labkernel engine status` says why)"
        ]


def test_exec(either: dict[str, Any]) -> None:
    code, output, _ = either["ended"][8]
    assert code == 0
    assert output.split()[0] == "0"
    assert int(output.split()[1]) >= 1
    assert output.split()[2] == "0022"


def test_privileged_starts(either: dict[str, Any]) -> None:
    assert either["ended"][9][0] == 0, either["ended"][9]


@pytest.mark.parametrize(
    ("subuid", "subgid", "expected"),
    [
        ("", "", Mapping(((0, 1000, 1),), ((0, 100, 1),))),
        ("me:5000:10\n", "", Mapping(((0, 1000, 1),), ((0, 100, 1),))),
        (
            "me:5000:10\n",
            "me:7000:20\n",
            Mapping(((0, 1000, 1), (1, 5000, 10)), ((0, 100, 1), (1, 7000, 20))),
        ),
        (
            "1000:5000:10\n",
            "1000:7000:20\n",
            Mapping(((0, 1000, 1), (1, 5000, 10)), ((0, 100, 1), (1, 7000, 20))),
        ),
        (
            "you:1:2\nme:5000:10\nme:9000:5\nme:x:5\nme:1\n",
            "me:7000:20\nme:1:0\n",
            Mapping(((0, 1000, 1), (1, 5000, 10), (11, 9000, 5)), ((0, 100, 1), (1, 7000, 20))),
        ),
    ],
)
def test_plan(subuid: str, subgid: str, expected: Mapping) -> None:
    assert plan("me", 1000, 100, subuid, subgid) == expected


def test_current_mapping() -> None:
    """The machine's own root is told from the root of a namespace that somebody else made."""
    everybody = "         0          0 4294967295\n"
    assert current_mapping(everybody, everybody) is None
    ranges = "0 1000 1\n1 100000 65536\n"
    expected = ((0, 1000, 1), (1, 100000, 65536))
    assert current_mapping(ranges, ranges) == Mapping(expected, expected)
    single = current_mapping("0 1000 1", "0 100 1")
    assert single
    assert single.single
