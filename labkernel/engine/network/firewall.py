"""Address translation between the bridges and the outside: masquerading outwards, published ports inwards.

One nftables table of the engine's own, tied to its netlink socket: whatever way the engine ends, the kernel
removes the table. Published ports also have a listener in the engine (see `forwarder`), which serves
connections from this machine's loopback, UDP and IPv6; the table takes the connections that come from
elsewhere past the engine, so that they arrive with their own source address. Docker divides the work in the
same way.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from labkernel.engine.linux import nftables
from labkernel.engine.linux.netlink import NetlinkSocket
from labkernel.engine.linux.nftables import (
    TYPE_INET_SERVICE,
    TYPE_IPV4_ADDR,
    comes_in_by,
    connection_has_state,
    connection_has_status,
    destination_is_local,
    destination_within,
    element_fields,
    goes_out_by,
    masquerade,
    new_base_chain,
    new_map,
    new_rule,
    protocol_is,
    source_within,
    verdict,
)

ANY_ADDRESS = "published"
ONE_ADDRESS = "published_at"
LOOPBACK = ipaddress.IPv4Network("127.0.0.0/8")


@dataclass(frozen=True)
class BridgeRules:
    """What a bridge lets through. `interface` is its gateway's."""

    interface: str
    internal: bool = False
    """Nothing out and nothing in, but for this machine itself."""
    masquerade: bool = True


class Firewall:
    """The table. Raises OSError where the kernel has no nftables, no NAT, or no owned tables (Linux 5.12)."""

    def __init__(self, table: str, netlink: NetlinkSocket) -> None:
        self._table = table
        self._netlink = netlink
        self._bridges: dict[str, tuple[BridgeRules, ipaddress.IPv4Network]] = {}
        # Loopback addresses cannot leave the machine, so what comes from one is the engine's listener's.
        not_loopback = destination_within(LOOPBACK, not_=True)
        nftables.commit(
            netlink,
            nftables.new_owned_table(table),
            new_map(table, ANY_ADDRESS, (TYPE_INET_SERVICE,), (TYPE_IPV4_ADDR, TYPE_INET_SERVICE), 1),
            new_map(
                table,
                ONE_ADDRESS,
                (TYPE_IPV4_ADDR, TYPE_INET_SERVICE),
                (TYPE_IPV4_ADDR, TYPE_INET_SERVICE),
                2,
            ),
            new_base_chain(table, "prerouting", "nat", nftables.HOOK_PREROUTING, nftables.PRIORITY_DSTNAT),
            new_base_chain(table, "output", "nat", nftables.HOOK_OUTPUT, nftables.PRIORITY_DSTNAT),
            new_base_chain(table, "postrouting", "nat", nftables.HOOK_POSTROUTING, nftables.PRIORITY_SRCNAT),
            new_base_chain(table, "forward", "filter", nftables.HOOK_FORWARD, nftables.PRIORITY_FILTER),
            *self._published("prerouting"),
            *self._published("output", not_loopback),
        )

    def _published(self, chain: str, *conditions: bytes) -> list[bytes]:
        """The two rules that send a packet for a published port on to its container."""
        tcp = protocol_is(socket.IPPROTO_TCP)
        return [
            new_rule(self._table, chain, tcp, *conditions, destination_is_local(), lookup)
            for lookup in (
                nftables.dnat_by_address_and_port(ONE_ADDRESS),
                nftables.dnat_by_port(ANY_ADDRESS),
            )
        ]

    def add_bridge(self, rules: BridgeRules, subnet: ipaddress.IPv4Network) -> None:
        """Let a bridge's containers out, and in to them only what they asked for or published."""
        self._change({**self._bridges, rules.interface: (rules, subnet)})

    def remove_bridge(self, rules: BridgeRules) -> None:
        left = {name: bridge for name, bridge in self._bridges.items() if name != rules.interface}
        if left != self._bridges:
            self._change(left)

    def _change(self, bridges: dict[str, tuple[BridgeRules, ipaddress.IPv4Network]]) -> None:
        """Write the three chains anew, for these bridges."""
        chains: dict[str, list[bytes]] = {"prerouting": [], "postrouting": [], "forward": []}

        def add(chain: str, *expressions: bytes) -> None:
            chains[chain].append(new_rule(self._table, chain, *expressions))

        answers = connection_has_state(nftables.STATE_ESTABLISHED | nftables.STATE_RELATED)
        published = connection_has_status(nftables.STATUS_DNAT)
        accept, drop = verdict(nftables.NF_ACCEPT), verdict(nftables.NF_DROP)
        for rules, _ in bridges.values():
            if rules.internal:
                add("forward", comes_in_by(rules.interface), drop)
                add("forward", goes_out_by(rules.interface), drop)
        for rules, subnet in bridges.values():
            out = goes_out_by(rules.interface)
            # Sent back by the way it came, a packet would meet its own address; the engine's listener answers
            # it.
            add("prerouting", comes_in_by(rules.interface), accept)
            if rules.masquerade and not rules.internal:
                elsewhere = goes_out_by(rules.interface, not_=True)
                add("postrouting", source_within(subnet), elsewhere, masquerade())
            add("forward", out, answers, accept)
            add("forward", out, published, accept)
            add("forward", out, drop)
        chains["prerouting"] += self._published("prerouting")
        flushes = [nftables.flush_chain(self._table, chain) for chain in chains]
        nftables.commit(self._netlink, *flushes, *(rule for written in chains.values() for rule in written))
        self._bridges = bridges

    def publish(self, host_ip: str, host_port: int, address: ipaddress.IPv4Address, port: int) -> None:
        """Send TCP connections to a host port on to a container. `host_ip` "0.0.0.0" is any address."""
        name, key = _place(host_ip, host_port)
        target = element_fields(address, port)
        nftables.commit(self._netlink, nftables.add_element(self._table, name, key, target))

    def unpublish(self, host_ip: str, host_port: int) -> None:
        name, key = _place(host_ip, host_port)
        nftables.commit(self._netlink, nftables.delete_element(self._table, name, key))

    def forwarding_is_dropped_by(self) -> list[str]:
        """The chains of others that drop forwarded packets by policy: "ip filter FORWARD"."""
        families = {nftables.NFPROTO_IPV4: "ip", nftables.NFPROTO_INET: "inet"}
        return [
            f"{families[chain.family]} {chain.table} {chain.name}"
            for chain in nftables.base_chains(self._netlink)
            if chain.hook == nftables.HOOK_FORWARD
            and chain.policy == nftables.NF_DROP
            and chain.family in families
        ]

    def close(self) -> None:
        """The kernel removes the table with the socket."""
        self._netlink.close()


def _place(host_ip: str, host_port: int) -> tuple[str, bytes]:
    if host_ip == "0.0.0.0":
        return ANY_ADDRESS, element_fields(host_port)
    return ONE_ADDRESS, element_fields(ipaddress.IPv4Address(host_ip), host_port)
