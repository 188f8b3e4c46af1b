"""What a container's configuration becomes in the bundle that the runtime gets."""

from __future__ import annotations

import pytest

from labkernel.engine.containers.bundle import _last_group, hosts
from tests.support.daemons import Daemon


@pytest.mark.parametrize(
    ("gid_map", "last"),
    [
        ("         0          0 4294967295\n", 2147483647),
        ("0 1000 1\n1 100000 65536\n", 65536),
        ("0 1000 1\n", 0),
    ],
)
def test_last_group(gid_map: str, last: int) -> None:
    assert _last_group(gid_map) == last


def test_ping_and_low_ports_need_no_privilege(any_engine: Daemon) -> None:
    """With each kind of privilege of the engine's own; a container on the host's network is left as it is."""
    command = "cd /proc/sys/net/ipv4; cat ip_unprivileged_port_start; cut -f1 ping_group_range"
    ran = any_engine.docker("run", "--rm", "--network", "none", "busybox", "sh", "-c", command)
    assert (ran.stdout, ran.returncode) == ("0\n0\n", 0), ran.stderr


@pytest.mark.parametrize(
    ("extra", "host", "named", "lines"),
    [
        ([], "10.1.0.1", True, "10.1.0.1\thost.docker.internal\n"),
        ([], "127.0.0.1", False, ""),
        (["a:host-gateway", "b:::1"], "127.0.0.1", False, "127.0.0.1\ta\n::1\tb\n"),
        (["host.docker.internal:10.9.9.9"], "10.1.0.1", True, "10.9.9.9\thost.docker.internal\n"),
        (["host.docker.internal:host-gateway"], "10.1.0.1", True, "10.1.0.1\thost.docker.internal\n"),
        (["a:host-gateway", "b:10.9.9.9"], "", False, "10.9.9.9\tb\n"),
    ],
)
def test_hosts_name_the_machine(extra: list[str], host: str, named: bool, lines: str) -> None:
    written = hosts(["10.1.0.2", "fd00:1::2"], "box", "", extra, host, named=named)
    assert written.partition("ip6-allrouters\n")[2] == f"{lines}10.1.0.2\tbox\nfd00:1::2\tbox\n"


def test_the_machine_s_name_follows_the_way_out(any_engine: Daemon) -> None:
    def docker(*words: str) -> str:
        ran = any_engine.docker(*words)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    for name, subnet in (("a", "10.94.1.0/24"), ("b", "10.94.2.0/24")):
        docker("network", "create", "--subnet", subnet, name)
    docker("run", "-d", "--name", "box", "--network", "b", "--add-host", "me:host-gateway", "busybox", "top")
    address = "grep -w -e host.docker.internal -e me /etc/hosts | cut -f1"
    assert docker("exec", "box", "sh", "-c", address) == "10.94.2.1\n" * 2
    docker("network", "connect", "a", "box")
    assert docker("exec", "box", "sh", "-c", address) == "10.94.2.1\n10.94.1.1\n"
    docker("network", "disconnect", "a", "box")
    docker("network", "disconnect", "b", "box")
    assert docker("exec", "box", "sh", "-c", address) == "10.94.2.1\n", "the line that was asked for stays"
    docker("run", "--rm", "busybox", "ping", "-c1", "-W2", "host.docker.internal")
