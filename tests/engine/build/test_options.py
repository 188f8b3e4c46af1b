"""The options of a build that are about its RUN steps, by us and by dockerd."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.engine.build.conftest import context_tar
from tests.support.daemons import Daemon

NOFILE = json.dumps([{"Name": "nofile", "Soft": 100, "Hard": 200}])

# Options, a command, and what it prints: a pattern.
CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "memory": ({"memory": 64 << 20}, "cat /sys/fs/cgroup/memory/memory.limit_in_bytes", f"{64 << 20}"),
    "swap": (
        {"memory": 64 << 20, "memswap": 128 << 20},
        "cat /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes 2>/dev/null || echo none",
        f"{128 << 20}|none",
    ),
    "shares": ({"cpushares": 512}, "cat /sys/fs/cgroup/cpu/cpu.shares", "512"),
    "quota": (
        {"cpuquota": 50000, "cpuperiod": 200000},
        "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us",
        "50000\n200000",
    ),
    "cpus": (
        {"cpusetcpus": "0", "cpusetmems": "0"},
        "cat /sys/fs/cgroup/cpuset/cpuset.cpus /sys/fs/cgroup/cpuset/cpuset.mems",
        "0\n0",
    ),
    "shared memory": ({"shmsize": 12 << 20}, "df -k /dev/shm | awk 'END { print $2 }'", f"{12 << 10}"),
    "limits": ({"ulimits": NOFILE}, "ulimit -Sn; ulimit -Hn", "100\n200"),
    "hosts": ({"extrahosts": ["a.test:10.1.2.3"]}, "grep a.test /etc/hosts", r"10\.1\.2\.3\ta\.test"),
    "no network": ({"networkmode": "none"}, "ls /sys/class/net; ip route | wc -l", r"(?s).*\n0"),
    "the host's network": ({"networkmode": "host"}, "ls /sys/class/net/outside/mtu", ".*mtu"),
    "a network": ({"networkmode": "build-net"}, "ip route | grep -c 10.77.0.0/24", "1"),
}


@pytest.fixture(params=["engine", "dockerd"])
def builder(request: pytest.FixtureRequest) -> Daemon:
    daemon: Daemon = request.getfixturevalue(request.param)
    return daemon


def build(daemon: Daemon, dockerfile: str, **options: Any) -> list[dict[str, Any]]:
    query = urlencode(options, doseq=True)
    headers = {"Content-Type": "application/x-tar"}
    answer = daemon.http.call("POST", f"/build?{query}", context_tar({"Dockerfile": dockerfile}), headers)
    return [json.loads(line) for line in answer.body.splitlines() if line]


def said(messages: list[dict[str, Any]]) -> str:
    return "".join(message.get("stream", "") for message in messages)


@pytest.mark.parametrize("case", CASES)
def test_options(builder: Daemon, case: str) -> None:
    options, command, expected = CASES[case]
    client = builder.client()
    network = None
    if options.get("networkmode") == "build-net":
        pool = {"Config": [{"Subnet": "10.77.0.0/24"}]}
        network = client.api.create_network("build-net", ipam=pool)["Id"]
    try:
        messages = build(builder, f"FROM busybox\nRUN {command}\n", nocache=1, **options)
    finally:
        if network:
            client.api.remove_network(network)
        client.close()
    printed = re.search(r" ---> Running in \w+\n(.*?)\n(?:Removing| ---> )", said(messages), re.DOTALL)
    assert printed, messages
    assert re.fullmatch(expected, printed[1]), printed[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ulimits": "["}, "error reading ulimit settings: unexpected (EOF|end of JSON input)"),
        ({"securityopt": '["x"]'}, "The daemon on this platform does not support setting security options.*"),
        ({"networkmode": "absent"}, "(network absent not found|No such network: absent)"),
        ({"memory": 1}, "[Mm]inimum memory limit allowed is [46]MB.*"),
        ({"ulimits": '[{"Name": "no", "Soft": 1, "Hard": 1}]'}, "(?i).*no.*"),
    ],
)
def test_options_that_make_no_sense(builder: Daemon, options: dict[str, Any], message: str) -> None:
    last = build(builder, "FROM busybox\nRUN true\n", nocache=1, **options)[-1]
    assert re.fullmatch(message, last.get("message") or last.get("error") or str(last), re.DOTALL), last


def test_what_is_not_heeded_is_said(engine: Daemon, single_uid_engine: Daemon) -> None:
    messages = build(engine, "FROM busybox\nRUN true\n", nocache=1, cgroupparent="/x")
    assert " ---> [Warning] CgroupParent is kept in the configuration and not heeded: " in said(messages)
    messages = build(single_uid_engine, "FROM busybox\nRUN true\n", nocache=1, memory=64 << 20)
    assert " ---> [Warning] " in said(messages)
    for daemon in (engine, single_uid_engine):
        assert "[Warning]" not in said(build(daemon, "FROM busybox\nRUN true\n", nocache=1))
