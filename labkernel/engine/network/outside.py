"""Where the bridges lead: the host's network namespace, or, for an ordinary user, one that the engine makes.

An ordinary user may change nothing in the host's namespace. So the engine makes one that plays the host's
part: gateways, routes and address translation are in there, and `user_mode` connects it to the world.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Sequence
from pathlib import Path

from labkernel.engine.linux import rtnetlink
from labkernel.engine.linux.nftables import nftables_socket
from labkernel.engine.network.firewall import BridgeRules, Firewall, Firewall6
from labkernel.engine.network.namespaces import NamespaceThread, enable_ipv6, set_sysctl
from labkernel.engine.network.user_mode import UserModeNetwork

DEFAULT_MTU = 1500
_ANYWHERE = ("192.0.2.1", 9)
"""An address that is nobody's (RFC 5737): the way there is the way to the world."""


class Outside:
    """The namespace of the gateways, with the engine's firewall in it where the kernel allows one."""

    def __init__(self, thread: NamespaceThread, table: str, state_dir: Path, rootless: bool) -> None:
        """Runs in the namespace thread. `table` is the firewall's name."""
        self._thread = thread
        self.namespace = thread.outside
        self.mtu = _mtu_of_default_route(thread)
        self.user_mode = UserModeNetwork(thread, self.mtu, state_dir) if rootless else None
        self._starting: asyncio.Task[None] | None = None
        self._table = table
        self.firewall: Firewall | None = None
        self._firewall6: Firewall6 | None = None
        self._firewall_error = ""
        self._forwards = True
        netlink = self._nftables = nftables_socket()
        try:
            self.firewall = Firewall(table, netlink)
        except OSError as error:
            # Containers still reach each other, and are reached through the engine's listeners.
            netlink.close()
            self._firewall_error = f"{error.filename or 'nftables'}: {error.strerror}"

    def start_user_mode(self) -> None:
        """Start what reaches the world for an ordinary user; the first bridge waits for it."""
        if self.user_mode:
            self._starting = asyncio.ensure_future(self.user_mode.start())

    async def reaches_world(self) -> bool:
        """Whether there is a way from a bridge to the outside world, as far as it depends on the engine."""
        if self.user_mode is None:
            return True
        if self._starting is not None:
            await self._starting
        return self.user_mode.running

    @property
    def nameservers(self) -> Sequence[str]:
        """The servers that containers are to ask instead of the host's; none: the host's."""
        return self.user_mode.nameservers if self.user_mode else ()

    @property
    def host_address(self) -> str:
        """An address of the host's that leads there from the bridges; "" where the gateways are its own.

        What carries an ordinary user's traffic keeps the host's loopback out of reach; the address that the
        host has towards the world is reached as others reach it.
        """
        if self.user_mode is None or not self.user_mode.running:
            return ""
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.connect(_ANYWHERE)  # sends nothing
            return str(asking.getsockname()[0])
        return ""

    async def socket(self, kind: socket.SocketKind) -> socket.socket:
        """A socket that reaches the containers."""
        if self.user_mode is None:
            return socket.socket(socket.AF_INET, kind)
        return await self._thread.run(socket.socket, socket.AF_INET, kind)

    async def add_gateway(
        self,
        rules: BridgeRules,
        gateway: ipaddress.IPv4Interface,
        gateway6: ipaddress.IPv6Interface | None = None,
    ) -> None:
        """Give the outer end of a bridge's uplink the gateway's addresses, and let its containers out."""
        await self._thread.run(self._add_gateway, rules.interface, gateway)
        if self.firewall:
            self.firewall.add_bridge(rules, gateway.network)
        if gateway6:
            if self.firewall:  # nothing is forwarded before the rules are there that keep networks apart
                self._firewall6 = self._firewall6 or Firewall6(self._table, self._nftables)
                self._firewall6.add_bridge(rules, gateway6.network)
            await self._thread.run(self._add_gateway6, rules.interface, gateway6)
        if self._starting:
            await asyncio.shield(self._starting)

    def _add_gateway(self, interface: str, gateway: ipaddress.IPv4Interface) -> None:
        index = socket.if_nametoindex(interface)
        self.namespace.netlink.request(
            rtnetlink.new_address(index, gateway), rtnetlink.set_up(interface), call="RTM_NEWADDR"
        )
        if self.firewall:
            # Left on when the engine ends, as dockerd leaves it: nobody can tell who else relies on it by
            # then.
            set_sysctl("net/ipv4/ip_forward", "1")
            self._forwards = Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"

    def _add_gateway6(self, interface: str, gateway: ipaddress.IPv6Interface) -> None:
        """Runs in the thread."""
        enable_ipv6(interface)
        index = socket.if_nametoindex(interface)
        self.namespace.netlink.request(rtnetlink.new_address(index, gateway), call="RTM_NEWADDR")
        if self.firewall:
            _forward_ipv6()

    async def remove_gateway(self, rules: BridgeRules) -> None:
        """Undo `add_gateway`. The firewall's socket is the loop's: two threads would take each other's
        answers.
        """
        await self._thread.run(self.remove_interface, rules.interface)
        if self.firewall:
            self.firewall.remove_bridge(rules)
        if self._firewall6:
            self._firewall6.remove_bridge(rules)

    def remove_interface(self, name: str) -> None:
        """Remove a bridge's interface, if it is there, and with it the uplink. Runs in the thread."""
        if all(link.name != name for link in rtnetlink.links(self.namespace.netlink)):
            return
        try:
            self.namespace.netlink.request(rtnetlink.delete_link(name), call="RTM_DELLINK")
        except OSError as error:
            if error.errno != errno.ENODEV:  # the kernel was about to
                raise

    def limits(self) -> list[str]:
        """What does not work here, each with what to do about it."""
        found = []
        if self.firewall is None:
            found.append(
                f"containers on a bridge reach each other but not the outside world: {self._firewall_error};"
                " address translation needs nftables with NAT, Linux 5.12 or later"
            )
        elif not self._forwards:
            found.append(
                "containers on a bridge reach each other but not the outside world: the kernel does not"
                " forward packets, and the engine may not change that; as root: sysctl net.ipv4.ip_forward=1"
            )
        elif droppers := self.firewall.forwarding_is_dropped_by():
            found.append(
                "the host's firewall drops forwarded packets, so containers on a bridge may not reach the"
                f" outside world (nftables chain {', '.join(droppers)}); as root:"
                " iptables -I FORWARD -i 'lk-+' -j ACCEPT; iptables -I FORWARD -o 'lk-+' -j ACCEPT"
            )
        if self.user_mode:
            found += self.user_mode.limits()
        return found

    async def close(self) -> None:
        if self.user_mode and self._starting:
            await asyncio.wait([self._starting])
            await self.user_mode.close()
        if self.firewall:
            self.firewall.close()


def _forward_ipv6() -> None:
    """Have the calling thread's namespace forward IPv6.

    A machine that forwards takes no more routes from its own routers unless accept_ra is 2 (the kernel's
    ip-sysctl.rst): it goes on to take them where it did.
    """
    interfaces = Path("/proc/sys/net/ipv6/conf")
    if (interfaces / "all/forwarding").read_text().strip() == "1":
        return
    for accept_ra in interfaces.glob("*/accept_ra"):
        if accept_ra.read_text().strip() == "1":
            set_sysctl(f"net/ipv6/conf/{accept_ra.parent.name}/accept_ra", "2")
    set_sysctl("net/ipv6/conf/all/forwarding", "1")


def host_subnets(thread: NamespaceThread) -> list[ipaddress.IPv4Network]:
    """The subnets that the host has routes to. Runs in the namespace thread."""
    return [route.destination for route in rtnetlink.routes(thread.home.netlink)]


def _mtu_of_default_route(thread: NamespaceThread) -> int:
    """Containers send no larger packets than the host's way out takes (a VPN's), nor than Docker's 1500."""
    host = thread.home.netlink
    outward = {route.interface for route in rtnetlink.routes(host) if route.destination.prefixlen == 0}
    return min([DEFAULT_MTU, *(link.mtu for link in rtnetlink.links(host) if link.index in outward)])
