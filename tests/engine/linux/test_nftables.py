"""What we make is read by nft."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

import pytest

from labkernel.engine.linux import nftables
from labkernel.engine.linux.namespaces import CLONE_NEWNET, setns, unshare
from labkernel.engine.linux.netlink import NetlinkSocket
from labkernel.engine.linux.nftables import TYPE_INET_SERVICE, TYPE_IPV4_ADDR, BaseChain


@pytest.fixture
def netlink(root: None) -> Iterator[NetlinkSocket]:
    """A socket in an empty network namespace, which the test is in."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    unshare(CLONE_NEWNET)
    netlink = nftables.nftables_socket()
    try:
        yield netlink
    finally:
        netlink.close()
        setns(home, CLONE_NEWNET)
        os.close(home)


def ruleset() -> str:
    listed = subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout
    return "\n".join(line.strip() for line in listed.splitlines())


def test_every_expression_means_what_its_name_says(netlink: NetlinkSocket) -> None:
    nftables.commit(
        netlink,
        nftables.new_owned_table("t"),
        nftables.new_map("t", "m", (TYPE_INET_SERVICE,), (TYPE_IPV4_ADDR, TYPE_INET_SERVICE), 1),
        nftables.new_map(
            "t", "m2", (TYPE_IPV4_ADDR, TYPE_INET_SERVICE), (TYPE_IPV4_ADDR, TYPE_INET_SERVICE), 2
        ),
        nftables.new_base_chain("t", "pre", "nat", nftables.HOOK_PREROUTING, nftables.PRIORITY_DSTNAT),
        nftables.new_base_chain("t", "post", "nat", nftables.HOOK_POSTROUTING, nftables.PRIORITY_SRCNAT),
        nftables.new_base_chain("t", "fwd", "filter", nftables.HOOK_FORWARD, nftables.PRIORITY_FILTER),
        nftables.new_rule("t", "pre", nftables.protocol_is(6), nftables.dnat_by_port("m")),
        nftables.new_rule("t", "pre", nftables.comes_in_by("a"), nftables.verdict(1)),
        nftables.new_rule(
            "t",
            "pre",
            nftables.destination_is_local(),
            nftables.destination_within(IPv4Network("127.0.0.0/8"), not_=True),
            nftables.protocol_is(6),
            nftables.dnat_by_address_and_port("m2"),
        ),
        nftables.new_rule(
            "t",
            "post",
            nftables.source_within(IPv4Network("172.17.0.0/16")),
            nftables.goes_out_by("b", not_=True),
            nftables.masquerade(),
        ),
        nftables.new_rule(
            "t",
            "fwd",
            nftables.goes_out_by("b"),
            nftables.connection_has_state(nftables.STATE_ESTABLISHED | nftables.STATE_RELATED),
            nftables.verdict(nftables.NF_ACCEPT),
        ),
        nftables.new_rule(
            "t",
            "fwd",
            nftables.connection_has_status(nftables.STATUS_DNAT),
            nftables.verdict(nftables.NF_DROP),
        ),
    )
    here = IPv4Address("192.0.2.1")
    target = nftables.element_fields(IPv4Address("172.17.0.2"), 80)
    nftables.commit(
        netlink,
        nftables.add_element("t", "m", nftables.element_fields(8080), target),
        nftables.add_element("t", "m2", nftables.element_fields(here, 8081), target),
    )
    listed = ruleset()
    for line in (
        "flags owner",
        "elements = { 8080 : 172.17.0.2 . 80 }",
        "elements = { 192.0.2.1 . 8081 : 172.17.0.2 . 80 }",
        'iifname "a" accept',
        "fib daddr type local ip daddr != 127.0.0.0/8 dnat ip to ip daddr . tcp dport map @m2",
        'ip saddr 172.17.0.0/16 oifname != "b" masquerade',
        'oifname "b" ct state established,related accept',
        "ct status dnat drop",
    ):
        assert line in listed
    nftables.commit(netlink, nftables.delete_element("t", "m", nftables.element_fields(8080)))
    assert "8080" not in ruleset()


def test_a_batch_is_applied_whole_or_not_at_all(netlink: NetlinkSocket) -> None:
    with pytest.raises(OSError, match="nftables") as caught:
        nftables.commit(netlink, nftables.new_owned_table("t"), nftables.new_rule("t", "missing"))
    assert caught.value.errno == errno.ENOENT
    assert ruleset() == ""
    nftables.commit(netlink, nftables.new_owned_table("t"))
    assert "table ip t" in ruleset()


def test_the_table_goes_with_its_socket_and_is_nobody_else_s(netlink: NetlinkSocket) -> None:
    nftables.commit(netlink, nftables.new_owned_table("t"))
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    assert "table ip t" in ruleset()
    other = nftables.nftables_socket()
    try:
        with pytest.raises(OSError, match="nftables"):
            nftables.commit(other, nftables.new_base_chain("t", "c", "filter", nftables.HOOK_FORWARD, 0))
    finally:
        other.close()
    netlink.close()
    assert ruleset() == ""


def test_base_chains_of_others_are_seen(netlink: NetlinkSocket) -> None:
    subprocess.run(
        ["nft", "-f", "-"],
        input="add table ip filter\nadd chain ip filter x\n"
        "add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }\n",
        text=True,
        check=True,
    )
    assert nftables.base_chains(netlink) == [
        BaseChain(nftables.NFPROTO_IPV4, "filter", "FORWARD", nftables.HOOK_FORWARD, nftables.NF_DROP)
    ]
