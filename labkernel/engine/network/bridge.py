"""A bridge: the switch that containers are plugged into.

    container's namespace      bridge's namespace                  outside (the host, as root)
       eth0 .2 ------------- veth101 \\
       eth0 .3 ------------- veth102 -- bridge -- uplink ---------- lk-1a2b3c4d .1 (gateway)

The bridge is in a namespace of its own that only the engine holds open. So the host sees one interface
however many containers there are, and if the engine is killed the kernel removes it all: bridge, uplink,
gateway and routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import heapq
import ipaddress
import itertools
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from labkernel.engine.errors import EngineError, System
from labkernel.engine.linux import rtnetlink
from labkernel.engine.linux.netlink import NetlinkSocket
from labkernel.engine.linux.rtnetlink import End
from labkernel.engine.network.addresses import Address, AddressPool, choose_subnet, mac_of
from labkernel.engine.network.firewall import BridgeRules
from labkernel.engine.network.namespaces import (
    NamespaceThread,
    NetworkNamespace,
    enable_ipv6,
    new_namespace,
    open_sysctl,
)
from labkernel.engine.network.outside import Outside, host_subnets

#: A bridge has 1023 ports (BR_MAX_PORTS in the kernel), one of them the uplink.
MAX_CONTAINERS = 1022
#: Plugs kept for the containers to come; more only while addresses below theirs become free.
READY, MOST_READY = 5, 10
#: Interfaces get numbers of our choice, above those of the tunnels that some kernels put everywhere.
UPLINK, FIRST_PORT = 100, 101
_indexes = itertools.count(1 << 20)
"""Of further interfaces in one namespace, whatever their bridges are: in the order that they came."""
PORT_SECONDS = 1.0
TEARDOWN_SECONDS = 10.0


class BridgeFull(System):
    """All ports of the bridge are in use."""


@dataclass(order=True)
class Plug:
    """A network namespace with an interface that is plugged into a bridge and has an address.

    `port` is the index of the bridge's end. Until it is given to a container the address answers nobody:
    writing "0" to `silence` (arp_ignore, in the kernel's ip-sysctl.rst) lets it. Where that is None, it
    answers always.
    """

    address: ipaddress.IPv4Address
    address6: ipaddress.IPv6Address | None = field(compare=False)
    mac: str = field(compare=False)
    namespace: NetworkNamespace = field(compare=False)
    port: int = field(compare=False)
    silence: int | None = field(compare=False, default=None)

    def speak(self) -> None:
        """Let the address answer; nothing more is to be changed in the namespace."""
        if self.silence is not None:
            os.pwrite(self.silence, b"0", 0)
        self._close_silence()
        self.namespace.leave_alone()

    def close(self) -> None:
        self._close_silence()
        self.namespace.close()

    def _close_silence(self) -> None:
        if self.silence is not None:
            os.close(self.silence)
            self.silence = None


class Bridge:
    """One bridge, its addresses, and a few plugs made beforehand.

    Making a plug takes one or two milliseconds, and tens when the kernel is taking other namespaces apart:
    both need the kernel's one lock for networking. So some are made while nothing waits for them, and giving
    one away takes no lock.
    """

    def __init__(
        self,
        thread: NamespaceThread,
        outside: Outside,
        rules: BridgeRules,
        addresses: AddressPool[ipaddress.IPv4Address],
        *,
        addresses6: AddressPool[ipaddress.IPv6Address] | None = None,
        movable: bool = False,
        mtu: int = 0,
        icc: bool = True,
        ready: int = 0,
    ) -> None:
        """`rules` name the gateway's interface; with `addresses6` there is IPv6 too. A `movable` bridge takes
        another subnet when the host has got a route to this one. Without `icc` its containers do not reach
        each other. `ready` is the number of plugs made beforehand.
        """
        self.interface = rules.interface
        self.addresses = addresses
        self.addresses6 = addresses6
        self.mtu = mtu or outside.mtu
        self._rules = rules
        self._movable = movable
        self._icc = icc
        self._ready_plugs = ready
        self._thread = thread
        self._outside = outside
        self._namespace: NetworkNamespace | None = None
        self._bridge_index = 0
        self._next_port = FIRST_PORT
        self._ready: list[Plug] = []
        self._making = asyncio.Lock()
        self._filling: asyncio.Task[None] | None = None

    async def make(self) -> None:
        """Make the bridge and its gateway."""
        try:
            taken = await self._thread.run(host_subnets, self._thread)
            routed = [route for route in taken if route.prefixlen and route.overlaps(self.addresses.subnet)]
            if routed and not self._movable:
                raise System(
                    f"failed to create bridge {self.interface}: the host has a route to {routed[0]}, which"
                    f" overlaps the network's {self.addresses.subnet}",
                    hint="`ip route` shows it; remove the network and create it with another --subnet",
                )
            if routed:
                self.addresses = AddressPool(choose_subnet(taken))
            namespace = self._namespace = await self._thread.run(self._make)
            gateway = ipaddress.IPv4Interface((self.addresses.gateway, self.addresses.subnet.prefixlen))
            gateway6 = None
            if pool := self.addresses6:
                gateway6 = ipaddress.IPv6Interface((pool.gateway, pool.subnet.prefixlen))
            await self._outside.add_gateway(self._rules, gateway, gateway6)
            await self._thread.run(_wait_for_port, namespace.netlink, UPLINK)
        except OSError as error:
            await self.close()
            raise System(
                f"failed to create bridge {self.interface}: {error}",
                hint="containers can still run with --network none or --network host",
            ) from error

    def _make(self) -> NetworkNamespace:
        namespace = new_namespace()
        netlink = namespace.netlink
        netlink.request(rtnetlink.new_bridge("bridge", self.mtu), call="RTM_NEWLINK")
        self._bridge_index = socket.if_nametoindex("bridge")
        host = self._outside.namespace.descriptor
        uplink, gateway = End("uplink", UPLINK), End(self.interface)
        netlink.request(
            rtnetlink.new_veth(uplink, self._bridge_index, gateway, host, self.mtu), call="RTM_NEWLINK"
        )
        return namespace

    async def plug_in(self, mac: str = "") -> Plug:
        """A plug with the lowest address that is ready. `mac` replaces the one that the address implies."""
        while not self._ready:
            self._up()
            # What it makes is kept for the next container if this one's request is cancelled.
            await asyncio.shield(asyncio.ensure_future(self._make_ready(lambda: not self._ready)))
        plug = heapq.heappop(self._ready)
        self._fill()
        try:
            if mac and mac.lower() != plug.mac:
                await self._thread.run(self._set_mac, plug, mac.lower())
            plug.speak()
        except BaseException:
            self.unplug(plug)
            raise
        return plug

    async def plug_into(
        self,
        namespace: NetworkNamespace | None,
        name: str,
        *,
        address: ipaddress.IPv4Address | None = None,
        address6: ipaddress.IPv6Address | None = None,
        mac: str = "",
    ) -> Plug:
        """A plug that is made now: of a container's namespace, or a new one; its interface gets that `name`,
        and `address` and `address6` rather than the lowest that are free. Raises Forbidden when one is taken.
        """
        bridge = self._up()
        address = _taken(self.addresses, address)
        if self.addresses6:
            try:
                address6 = _taken(self.addresses6, address6)
            except BaseException:
                self.addresses.release(address)
                raise

        def make() -> Plug:
            return self._new_plug(bridge, address, address6, namespace, name, mac.lower())

        making = asyncio.ensure_future(self._when_free(make))
        try:
            plug = await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(partial(self._give_up, address, address6))
            raise
        except BaseException:
            self._release(address, address6)
            raise
        plug.speak()
        return plug

    def _give_up(
        self,
        address: ipaddress.IPv4Address,
        address6: ipaddress.IPv6Address | None,
        making: asyncio.Task[Plug],
    ) -> None:
        """Nobody waits any more for a plug that was being made."""
        if making.cancelled() or making.exception():
            self._release(address, address6)
        else:
            self.unplug(making.result())

    def _release(self, address: ipaddress.IPv4Address, address6: ipaddress.IPv6Address | None) -> None:
        self.addresses.release(address)
        if self.addresses6 and address6:
            self.addresses6.release(address6)

    def _up(self) -> NetworkNamespace:
        if self._namespace is None:
            raise System(f"bridge {self.interface} is down")
        return self._namespace

    def unplug(self, plug: Plug) -> None:
        """Give up the namespace and its address."""
        plug.close()
        self.released(plug)

    def released(self, plug: Plug) -> None:
        """The plug is gone from its namespace, or that is closed: its addresses are free."""
        self._release(plug.address, plug.address6)
        self._fill()

    async def pull(self, plug: Plug) -> None:
        """Take the plug's interface out of a namespace that lives on."""
        bridge = self._up()
        with contextlib.suppress(OSError):  # the namespace's other end may have been deleted from inside
            await self._thread.run(
                bridge.netlink.request, rtnetlink.delete_link(f"veth{plug.port}"), call="RTM_DELLINK"
            )
        self.released(plug)

    async def close(self) -> None:
        """Take the bridge apart. Containers on it lose their network."""
        namespace, self._namespace = self._namespace, None
        if self._filling:
            await asyncio.wait([self._filling])
        while self._ready:
            self._ready.pop().close()
        await self._outside.remove_gateway(self._rules)
        if namespace:
            namespace.close()

    def _fill(self) -> None:
        """Make plugs in the background."""
        if self._namespace and (self._filling is None or self._filling.done()):
            self._filling = asyncio.ensure_future(self._keep_ready())

    async def _keep_ready(self) -> None:
        with contextlib.suppress(EngineError, OSError):  # whoever needs a plug next meets the error again
            while self._namespace and self._wants_more():
                await self._make_ready(self._wants_more)

    def _wants_more(self) -> bool:
        """Docker gives the lowest free address; a hurried container gets a higher one that is ready."""
        if len(self._ready) < self._ready_plugs:
            return True
        return (
            bool(self._ready)
            and len(self._ready) < MOST_READY
            and self.addresses.lowest_free < self._ready[0].address
        )

    async def _make_ready(self, still_wanted: Callable[[], bool]) -> None:
        async with self._making:
            if self._namespace is None or not still_wanted():
                return
            address = self.addresses.take()
            try:
                plug = await self._when_free(partial(self._new_plug, self._namespace, address))
            except BaseException:
                self.addresses.release(address)
                raise
            heapq.heappush(self._ready, plug)

    async def _when_free(self, new_plug: Callable[[], Plug]) -> Plug:
        """Plugs given up keep their ports until the kernel has taken them apart: wait for that."""
        deadline = time.monotonic() + TEARDOWN_SECONDS
        while True:
            try:
                return await self._thread.run(new_plug)
            except BridgeFull:
                if self.addresses.taken > MAX_CONTAINERS or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.005)

    def _new_plug(
        self,
        bridge: NetworkNamespace,
        address: ipaddress.IPv4Address,
        address6: ipaddress.IPv6Address | None = None,
        existing: NetworkNamespace | None = None,
        name: str = "eth0",
        mac: str = "",
    ) -> Plug:
        """Runs in the namespace thread."""
        port, self._next_port = self._next_port, self._next_port + 1
        mac = mac or mac_of(address)
        namespace = existing or new_namespace()
        plug = Plug(address, address6, mac, namespace, port)
        try:
            # In a namespace with interfaces of other bridges the number may be taken.
            index = next(_indexes) if existing else port
            inner = End(name, index, mac)
            bridge.netlink.request(
                rtnetlink.new_veth(
                    End(f"veth{port}", port), self._bridge_index, inner, namespace.descriptor, self.mtu
                ),
                call="RTM_NEWLINK",
            )
            if not self._icc:
                bridge.netlink.request(rtnetlink.isolate_port(port), call="RTM_SETLINK")
            if existing:
                existing.enter()
            plug.silence = open_sysctl(f"net/ipv4/conf/{name}/arp_ignore")
            if plug.silence is not None:
                os.write(plug.silence, b"8")
            interface = ipaddress.IPv4Interface((address, self.addresses.subnet.prefixlen))
            setup = [rtnetlink.set_up(name), rtnetlink.new_address(index, interface)]
            if not existing and not self._rules.internal:
                setup.append(rtnetlink.new_default_route(self.addresses.gateway))
            if address6:
                setup += self._setup6(name, index, address6, route=not existing)
            namespace.netlink.request(*setup, call="RTM_NEWADDR")
            # The address's last holder may still be on the bridge, being taken apart: nothing must go there.
            bridge.netlink.request(rtnetlink.new_bridge_entry(port, mac), call="RTM_NEWNEIGH")
            _wait_for_port(bridge.netlink, port)
        except OSError as error:
            if existing:
                with contextlib.suppress(OSError):
                    bridge.netlink.request(rtnetlink.delete_link(f"veth{port}"), call="RTM_DELLINK")
                existing.leave_alone()
            else:
                plug.close()
            if error.errno != errno.EXFULL:
                raise System(
                    f"failed to add interface veth{port} to bridge {self.interface}: {error}"
                ) from error
            raise BridgeFull(
                f"adding interface veth{port} to bridge {self.interface} failed: exchange full",
                hint=f"the kernel allows {MAX_CONTAINERS} containers on a bridge; remove some,"
                " or start more with --network none or --network host",
            ) from error
        return plug

    def _setup6(
        self, name: str, index: int, address: ipaddress.IPv6Address, *, route: bool
    ) -> Iterator[bytes]:
        """What gives a container's interface its IPv6 address. Runs in the container's namespace."""
        assert self.addresses6
        enable_ipv6(name)
        yield rtnetlink.new_address(
            index, ipaddress.IPv6Interface((address, self.addresses6.subnet.prefixlen))
        )
        if route and not self._rules.internal:
            yield rtnetlink.new_default_route(self.addresses6.gateway)

    def _set_mac(self, plug: Plug, mac: str) -> None:
        assert self._namespace
        plug.namespace.netlink.request(rtnetlink.set_mac(plug.port, mac), call="RTM_NEWLINK")
        self._namespace.netlink.request(rtnetlink.new_bridge_entry(plug.port, mac), call="RTM_NEWNEIGH")
        plug.mac = mac


def _taken(pool: AddressPool[Address], address: Address | None) -> Address:
    """That address, or the lowest that is free. Raises Forbidden, System."""
    if address is None:
        return pool.take()
    pool.take_this(address)
    return address


def _wait_for_port(netlink: NetlinkSocket, port: int) -> None:
    """Wait until a new port passes frames on: the kernel sees to that a moment after both ends are up.

    A frame lost before would cost a second: ARP, and TCP's first segment, wait that long to try again.
    """
    deadline = time.monotonic() + PORT_SECONDS
    while not rtnetlink.port_forwards(netlink, port) and time.monotonic() < deadline:
        time.sleep(0.0001)
