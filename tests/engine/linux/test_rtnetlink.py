"""What we make is read by iproute2, and what we read was made by iproute2."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest

from labkernel.engine.linux import rtnetlink
from labkernel.engine.linux.namespaces import CLONE_NEWNET, setns, unshare
from labkernel.engine.linux.netlink import NetlinkSocket
from labkernel.engine.linux.rtnetlink import End, Route


@pytest.fixture
def netlink(root: None) -> Iterator[NetlinkSocket]:
    """A socket in an empty network namespace, which the test is in."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    unshare(CLONE_NEWNET)
    netlink = rtnetlink.rtnetlink_socket()
    try:
        yield netlink
    finally:
        netlink.close()
        setns(home, CLONE_NEWNET)
        os.close(home)


def ip(*args: str) -> list[dict[str, Any]]:
    ended = subprocess.run(["ip", "-j", "-d", *args], check=True, capture_output=True, text=True)
    found: list[dict[str, Any]] = json.loads(ended.stdout or "[]")
    return found


def test_a_bridge_with_a_port(netlink: NetlinkSocket) -> None:
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        netlink.request(rtnetlink.new_bridge("br", 1400), call="bridge")
        (bridge,) = ip("link", "show", "br")
        port, peer = End("port", 100), End("peer", 0, "02:00:00:00:00:09")
        netlink.request(rtnetlink.new_veth(port, bridge["ifindex"], peer, here, 1400), call="veth")
    finally:
        os.close(here)
    assert bridge["linkinfo"]["info_kind"] == "bridge"
    assert "UP" in bridge["flags"]
    assert bridge["mtu"] == 1400
    (made,) = ip("link", "show", "port")
    assert made["ifindex"] == 100
    assert made["master"] == "br"
    assert made["link"] == "peer"
    assert made["mtu"] == 1400
    assert "UP" in made["flags"]
    (other,) = ip("link", "show", "peer")
    assert other["address"] == "02:00:00:00:00:09"
    assert "UP" not in other["flags"]
    assert not rtnetlink.port_forwards(netlink, 100)
    kinds = {link.name: (link.kind, link.master, link.mtu) for link in rtnetlink.links(netlink)}
    assert kinds["br"] == ("bridge", 0, 1400)
    assert kinds["port"] == ("veth", bridge["ifindex"], 1400)

    netlink.request(rtnetlink.new_bridge_entry(100, "02:42:ac:11:00:02"), call="entry")
    entries = json.loads(subprocess.check_output(["bridge", "-j", "fdb", "show", "br", "br"]))
    assert any(
        entry["mac"] == "02:42:ac:11:00:02" and entry["ifname"] == "port" and entry["state"] == "static"
        for entry in entries
    )
    netlink.request(rtnetlink.delete_link("br"), rtnetlink.delete_link("port"), call="delete")
    assert [link.name for link in rtnetlink.links(netlink)] == ["lo"]


def test_addresses_routes_and_macs(netlink: NetlinkSocket) -> None:
    subprocess.run(["ip", "link", "add", "one", "type", "veth", "peer", "name", "two"], check=True)
    subprocess.run(["ip", "link", "set", "two", "up"], check=True)
    one = socket.if_nametoindex("one")
    netlink.request(
        rtnetlink.set_mac(one, "02:42:ac:11:00:02"),
        rtnetlink.set_up("one"),
        rtnetlink.new_address(one, IPv4Interface("172.17.0.2/16")),
        rtnetlink.new_default_route(IPv4Address("172.17.0.1")),
        call="address",
    )
    (link,) = ip("address", "show", "one")
    assert link["address"] == "02:42:ac:11:00:02"
    (address,) = [each for each in link["addr_info"] if each["family"] == "inet"]
    assert (address["local"], address["prefixlen"], address["broadcast"], address["scope"]) == (
        "172.17.0.2",
        16,
        "172.17.255.255",
        "global",
    )
    found = {route["dst"]: route.get("gateway") for route in ip("route", "show")}
    assert found == {"default": "172.17.0.1", "172.17.0.0/16": None}
    subprocess.run(["ip", "route", "add", "10.9.0.0/24", "via", "172.17.0.5", "table", "77"], check=True)
    assert set(rtnetlink.routes(netlink)) == {
        Route(IPv4Network("0.0.0.0/0"), one, IPv4Address("172.17.0.1")),
        Route(IPv4Network("172.17.0.0/16"), one, None),
        Route(IPv4Network("10.9.0.0/24"), one, IPv4Address("172.17.0.5")),
    }
