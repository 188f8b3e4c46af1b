"""What a container's configuration becomes in the bundle that the runtime gets."""

from __future__ import annotations

import pytest

from labkernel.engine.containers.bundle import _last_group
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
