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
import ipaddress
import socket
from collections import deque
from dataclasses import dataclass

from labkernel.engine.errors import EngineError, System
from labkernel.engine.linux import rtnetlink
from labkernel.engine.linux.netlink import NetlinkSocket
from labkernel.engine.network.addresses import AddressPool, choose_subnet, mac_of
from labkernel.engine.network.namespaces import NamespaceThread, NetworkNamespace, new_namespace
from labkernel.engine.network.outside import Outside, host_subnets

#: A bridge has 1023 ports (BR_MAX_PORTS in the kernel), one of them the uplink.
MAX_CONTAINERS = 1022
#: Namespaces kept plugged in for the containers to come.
READY = 2
#: Interfaces get numbers of our choice, above those of the tunnels that some kernels put into every
#: namespace.
FIRST_INTERFACE = 101


@dataclass
class Plug:
    """A network namespace whose eth0 is plugged into a bridge. `interface` is the index of both ends."""

    namespace: NetworkNamespace
    interface: int
    address: ipaddress.IPv4Address | None = None
    mac: str = ""


class Bridge:
    """One bridge, its addresses, and a few namespaces plugged in beforehand.

    Making a namespace and its interfaces takes a millisecond or two, giving it an address a tenth of one. So
    some are made while nothing waits for them.
    """

    def __init__(
        self, thread: NamespaceThread, outside: Outside, interface: str, subnet: ipaddress.IPv4Network
    ) -> None:
        """`interface` is the name of the gateway's interface."""
        self.interface = interface
        self.addresses = AddressPool(subnet)
        self._thread = thread
        self._outside = outside
        self._namespace: NetworkNamespace | None = None
        self._forwarding: NetlinkSocket | None = None
        self._bridge_index = 0
        self._next_interface = FIRST_INTERFACE
        self._ready: deque[Plug] = deque()
        self._refill: asyncio.Task[None] | None = None

    @property
    def mtu(self) -> int:
        return self._outside.mtu

    async def make(self) -> None:
        """Make the bridge and its gateway."""
        try:
            taken = await self._thread.run(host_subnets, self._thread)
            if any(route.prefixlen and route.overlaps(self.addresses.subnet) for route in taken):
                self.addresses = AddressPool(choose_subnet(taken))
            await self._thread.run(self._make)
            gateway = ipaddress.IPv4Interface((self.addresses.gateway, self.addresses.subnet.prefixlen))
            await self._outside.add_gateway(self.interface, gateway)
        except OSError as error:
            await self.close()
            raise System(f"failed to create bridge {self.interface}: {error}") from error

    def _make(self) -> None:
        self._namespace = new_namespace()
        # Addresses are given from the event loop, while the thread may be making the next plug.
        self._forwarding = rtnetlink.rtnetlink_socket()
        netlink, mtu = self._namespace.netlink, self._outside.mtu
        netlink.request(rtnetlink.new_bridge("bridge", mtu), call="RTM_NEWLINK")
        self._bridge_index = socket.if_nametoindex("bridge")
        host = self._outside.namespace.descriptor
        netlink.request(
            rtnetlink.new_veth("uplink", self.interface, host, mtu, master=self._bridge_index),
            call="RTM_NEWLINK",
        )

    async def plug_in(self, mac: str = "") -> Plug:
        """A namespace with an address on the bridge."""
        while not self._ready:
            # What it makes is kept for the next container if this one's request is cancelled.
            await asyncio.shield(asyncio.ensure_future(self._make_ready()))
        plug = self._ready.popleft()
        if self._refill is None or self._refill.done():
            self._refill = asyncio.ensure_future(self._keep_ready())
        try:
            plug.address = self.addresses.take()
            plug.mac = mac or mac_of(plug.address)
            self._give_address(plug, plug.address)
        except BaseException:
            self.unplug(plug)
            raise
        return plug

    def unplug(self, plug: Plug) -> None:
        """Give up the namespace and its address."""
        if plug.address:
            self.addresses.release(plug.address)
        plug.namespace.close()

    async def close(self) -> None:
        """Take the bridge apart. Containers on it lose their network."""
        if self._refill:
            self._refill.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._refill
        while self._ready:
            self._ready.popleft().namespace.close()
        await self._thread.run(self._outside.remove_interface, self.interface)
        if self._forwarding:
            self._forwarding.close()
        if self._namespace:
            self._namespace.close()
            self._namespace = None

    async def _keep_ready(self) -> None:
        with contextlib.suppress(EngineError, OSError):  # whoever needs one next meets the error again
            while len(self._ready) < READY:
                await self._make_ready()

    async def _make_ready(self) -> None:
        self._ready.append(await self._thread.run(self._new_plug))

    def _new_plug(self) -> Plug:
        assert self._namespace
        namespace = new_namespace()
        index = self._next_interface
        self._next_interface += 1
        try:
            self._namespace.netlink.request(
                rtnetlink.new_veth(
                    f"veth{index}",
                    "eth0",
                    namespace.descriptor,
                    self._outside.mtu,
                    master=self._bridge_index,
                    index=index,
                ),
                call="RTM_NEWLINK",
            )
            # Up long before the container has an address: then the bridge forwards from its first packet on.
            namespace.netlink.request(rtnetlink.set_up("eth0"), call="RTM_NEWLINK")
        except OSError as error:
            namespace.close()
            if error.errno != errno.EXFULL:
                raise
            raise System(
                f"adding interface veth{index} to bridge {self.interface} failed: exchange full",
                hint=f"the kernel allows {MAX_CONTAINERS} containers on a bridge; remove some,"
                " or start more with --network none or --network host",
            ) from error
        return Plug(namespace, index)

    def _give_address(self, plug: Plug, address: ipaddress.IPv4Address) -> None:
        assert self._forwarding
        plug.namespace.netlink.request(
            rtnetlink.set_mac(plug.interface, plug.mac),
            rtnetlink.new_address(
                plug.interface, ipaddress.IPv4Interface((address, self.addresses.subnet.prefixlen))
            ),
            rtnetlink.new_default_route(self.addresses.gateway),
            call="RTM_NEWADDR",
        )
        # The address's last holder may still be on the bridge, being taken apart: frames must not go there.
        self._forwarding.request(rtnetlink.new_bridge_entry(plug.interface, plug.mac), call="RTM_NEWNEIGH")
