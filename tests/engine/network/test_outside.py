"""What the engine says where the host does not let it do everything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.engine.network.lone_engine import PORT, running_alone
from tests.engine.network.places import WORLD, Machine, fetch, says, tcp_server, within
from tests.support.source_tree import REPOSITORY


def in_a_mount_namespace(commands: str) -> list[str]:
    """Words before a command that run it after shell commands which change mounts for it alone."""
    return ["unshare", "--mount", "sh", "-c", f'set -e; {commands}; exec "$@"', "sh"]


def test_where_parameters_of_the_kernel_are_read_only(machine: Machine, tmp_path: Path) -> None:
    """As for an engine that is itself in a container."""
    prefix = in_a_mount_namespace("mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys")
    with running_alone(tmp_path, prefix) as (_, report):
        assert report["container"] == "web"
        assert fetch("127.0.0.1", PORT) == b"web"
        assert report["limits"] == []
        (limit,) = report["limits once used"]
        assert "sysctl net.ipv4.ip_forward=1" in limit
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    with running_alone(tmp_path, prefix) as (_, report):
        assert report["limits once used"] == []


def test_without_a_name_server_that_containers_reach(machine: Machine, tmp_path: Path) -> None:
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("nameserver 127.0.0.1\n")
    prefix = in_a_mount_namespace(f"mount --bind {resolv_conf} /etc/resolv.conf")
    with running_alone(tmp_path, prefix) as (_, report):
        assert report["web"]["resolv_conf"] == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
        (limit,) = report["limits"]
        assert "8.8.8.8" in limit


def test_other_people_s_dropping_of_forwarded_packets(machine: Machine, tmp_path: Path) -> None:
    """What the limit says to do does help; published ports work without it."""
    rules = "add table ip filter\nadd chain ip filter FORWARD "
    rules += "{ type filter hook forward priority 0; policy drop; }\n"
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    with tcp_server(machine.world, 80, says(b"world")), running_alone(tmp_path) as (_, report):
        assert any("iptables -I FORWARD" in limit for limit in report["limits"])
        assert fetch("127.0.0.1", PORT) == b"web"
        netns = report["web"]["netns_path"]
        try:
            within(netns, lambda: fetch(WORLD, 80, timeout=0.3))
            raise AssertionError("the packet was forwarded")
        except TimeoutError:
            pass
        for direction in ("iifname", "oifname"):
            rule = f'insert rule ip filter FORWARD {direction} "lk-*" accept'
            subprocess.run(["nft", rule], check=True)
        assert within(netns, lambda: fetch(WORLD, 80)) == b"world"


def test_without_the_right_to_make_interfaces(machine: Machine, tmp_path: Path) -> None:
    """An engine in a container is often root without CAP_NET_ADMIN: it opens, and says why a bridge cannot
    be.
    """
    code = """
import asyncio, pathlib, sys
from labkernel.engine.database import Database
from labkernel.engine.errors import System
from labkernel.engine.network.networks import Networks

async def main():
    directory = pathlib.Path(sys.argv[1])
    networks = await Networks.open(state_dir=directory, database=Database(directory / "db"), rootless=False)
    print(*networks.limits(), sep="\\n")
    try:
        await networks.connect("1", "bridge")
    except System as error:
        print(error.message, error.hint)
    assert (await networks.connect("2", "host")).netns_path is None
    await networks.close()

asyncio.run(main())
"""
    ended = subprocess.run(
        ["setpriv", "--bounding-set=-net_admin", "--", sys.executable, "-c", code, str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    limit, message = ended.stdout.splitlines()
    assert "not the outside world: nftables: Operation not permitted" in limit
    assert message.startswith("failed to create bridge lk-")
    assert "--network none" in message
