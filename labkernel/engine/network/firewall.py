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
from collections.abc import Sequence
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
PASSAGE = {
    "postrouting": ("nat", nftables.HOOK_POSTROUTING, nftables.PRIORITY_SRCNAT),
    "forward": ("filter", nftables.HOOK_FORWARD, nftables.PRIORITY_FILTER),
}
"""The chains that decide what leaves and enters a bridge: kind, hook, priority."""
_IPV6 = nftables.NFPROTO_IPV6
LOOPBACK = ipaddress.IPv4Network("127.0.0.0/8")


@dataclass(frozen=True)
class BridgeRules:
    """What a bridge lets through. `interface` is its gateway's."""

    interface: str
    internal: bool = False
    """Nothing out and nothing in, but for this machine itself."""
    masquerade: bool = True


Bridge = tuple[BridgeRules, ipaddress.IPv4Network | ipaddress.IPv6Network]


class _Table:
    """A table and the bridges that it has rules for."""

    def __init__(self, table: str, netlink: NetlinkSocket) -> None:
        self._table = table
        self._netlink = netlink
        self._bridges: dict[str, Bridge] = {}

    def add_bridge(self, rules: BridgeRules, subnet: ipaddress.IPv4Network | ipaddress.IPv6Network) -> None:
        """Let a bridge's containers out, and in to them only answers and what they published."""
        self._change({**self._bridges, rules.interface: (rules, subnet)})

    def remove_bridge(self, rules: BridgeRules) -> None:
        left = {name: bridge for name, bridge in self._bridges.items() if name != rules.interface}
        if left != self._bridges:
            self._change(left)

    def _change(self, bridges: dict[str, Bridge]) -> None:
        self._write([*bridges.values()])
        self._bridges = bridges

    def _write(self, bridges: Sequence[Bridge]) -> None:
        """Write the chains that depend on the bridges anew."""
        raise NotImplementedError


class Firewall(_Table):
    """The table. Raises OSError where the kernel has no nftables, no NAT, or no owned tables (Linux 5.12)."""

    def __init__(self, table: str, netlink: NetlinkSocket) -> None:
        super().__init__(table, netlink)
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
            *(new_base_chain(table, name, *place) for name, place in PASSAGE.items()),
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

    def _write(self, bridges: Sequence[Bridge]) -> None:
        # Sent back by the way it came, a packet would meet its own address; the engine's listener answers it.
        accept = verdict(nftables.NF_ACCEPT)
        untouched = [("prerouting", (comes_in_by(rules.interface), accept)) for rules, _ in bridges]
        written = [
            new_rule(self._table, chain, *expressions)
            for chain, expressions in [*untouched, *_passage(bridges)]
        ]
        flushes = [nftables.flush_chain(self._table, chain) for chain in (*PASSAGE, "prerouting")]
        nftables.commit(self._netlink, *flushes, *written, *self._published("prerouting"))

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


class Firewall6(_Table):
    """The table for IPv6: as `Firewall`, without published ports, which the engine's listeners serve.

    It has the same owner, so it vanishes with that one's netlink socket. Raises OSError as that does.
    """

    def __init__(self, table: str, netlink: NetlinkSocket) -> None:
        super().__init__(table, netlink)
        nftables.commit(
            netlink,
            nftables.new_owned_table(table, family=_IPV6),
            *(new_base_chain(table, name, *place, family=_IPV6) for name, place in PASSAGE.items()),
        )

    def _write(self, bridges: Sequence[Bridge]) -> None:
        flushes = [nftables.flush_chain(self._table, chain, family=_IPV6) for chain in PASSAGE]
        written = [
            new_rule(self._table, chain, *expressions, family=_IPV6)
            for chain, expressions in _passage(bridges)
        ]
        nftables.commit(self._netlink, *flushes, *written)


def _passage(
    bridges: Sequence[Bridge],
) -> list[tuple[str, tuple[bytes, ...]]]:
    """The rules of the chains in `PASSAGE`, each with its chain's name: what passes between the bridges and
    elsewhere.
    """
    found: list[tuple[str, tuple[bytes, ...]]] = []
    answers = connection_has_state(nftables.STATE_ESTABLISHED | nftables.STATE_RELATED)
    published = connection_has_status(nftables.STATUS_DNAT)
    accept, drop = verdict(nftables.NF_ACCEPT), verdict(nftables.NF_DROP)
    for rules, _ in bridges:
        if rules.internal:
            found.append(("forward", (comes_in_by(rules.interface), drop)))
            found.append(("forward", (goes_out_by(rules.interface), drop)))
    for rules, subnet in bridges:
        out = goes_out_by(rules.interface)
        if rules.masquerade and not rules.internal:
            elsewhere = goes_out_by(rules.interface, not_=True)
            found.append(("postrouting", (source_within(subnet), elsewhere, masquerade())))
        found += [("forward", (out, allowed, accept)) for allowed in (answers, published)]
        found.append(("forward", (out, drop)))
    return found


def _place(host_ip: str, host_port: int) -> tuple[str, bytes]:
    if host_ip == "0.0.0.0":
        return ANY_ADDRESS, element_fields(host_port)
    return ONE_ADDRESS, element_fields(ipaddress.IPv4Address(host_ip), host_port)
