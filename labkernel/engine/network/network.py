"""The kinds of network: what a container gets when it joins one."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labkernel.engine.errors import Forbidden, InvalidParameter, System
from labkernel.engine.network.addresses import Address
from labkernel.engine.network.bridge import Bridge
from labkernel.engine.network.definition import Definition, EndpointConfig
from labkernel.engine.network.descriptions import Endpoint, network_description
from labkernel.engine.network.namespaces import NamespaceThread, NetworkNamespace, new_namespace


async def _nothing_to_do() -> None:
    """For a membership that holds nothing."""


@dataclass(frozen=True)
class Membership:
    """A container's part in a network. `leave` takes it out of a namespace that lives on; `left` is to be
    called when that was closed.
    """

    namespace: NetworkNamespace | None
    """None: the engine's own."""
    leave: Callable[[], Awaitable[None]] = _nothing_to_do
    left: Callable[[], None] = lambda: None
    address: ipaddress.IPv4Address | None = None
    prefix_length: int = 0
    gateway: str = ""
    address6: ipaddress.IPv6Address | None = None
    prefix_length6: int = 0
    gateway6: str = ""
    mac: str = ""
    interface: str = ""


@dataclass
class Network:
    """What all kinds have in common. `created` is RFC 3339."""

    name: str
    identity: str
    created: str
    driver = ""
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    """Of the running containers, by container id."""

    async def join(
        self, namespace: NetworkNamespace | None, interface: str, config: EndpointConfig
    ) -> Membership:
        """Give a container's namespace a part in the network; None makes the namespace too.

        Raises System when the kernel refuses, Forbidden when an address is taken.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing to take apart, unless the kind says otherwise."""

    @property
    def user_defined(self) -> bool:
        return False

    @property
    def internal(self) -> bool:
        return False

    def settings(self) -> dict[str, Any]:
        """What `network_description` is to show of this kind."""
        return {"options": {}, "labels": {}, "ipam": []}

    def describe(self) -> dict[str, Any]:
        """The network as the API writes it."""
        return network_description(
            name=self.name,
            identity=self.identity,
            created=self.created,
            driver=self.driver,
            endpoints=list(self.endpoints.values()),
            **self.settings(),
        )


class HostNetwork(Network):
    """The engine's own network namespace."""

    driver = "host"

    async def join(
        self, namespace: NetworkNamespace | None, interface: str, config: EndpointConfig
    ) -> Membership:
        return Membership(None)


@dataclass
class NoneNetwork(Network):
    """A namespace with nothing but a loopback."""

    driver = "null"

    thread: NamespaceThread = field(kw_only=True)

    async def join(
        self, namespace: NetworkNamespace | None, interface: str, config: EndpointConfig
    ) -> Membership:
        if namespace is not None:
            return Membership(namespace)
        making = asyncio.ensure_future(self.thread.run(new_namespace))
        try:
            made = await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(lambda made: made.result().close())
            raise
        except OSError as error:
            raise System(f"failed to create a network namespace: {error}") from error
        made.leave_alone()
        return Membership(made)


@dataclass
class BridgeNetwork(Network):
    """A bridge with addresses, made when the first container joins."""

    driver = "bridge"

    bridge: Bridge = field(kw_only=True)
    definition: Definition | None = None
    """None: the network that containers are on by default."""
    _made: asyncio.Task[None] | None = None

    @property
    def user_defined(self) -> bool:
        return self.definition is not None

    @property
    def internal(self) -> bool:
        return self.definition is not None and self.definition.internal

    async def join(
        self, namespace: NetworkNamespace | None, interface: str, config: EndpointConfig
    ) -> Membership:
        address, address6 = self._asked_for(config), self._asked_for6(config)
        await self._make_once()
        if namespace is None and not self.user_defined:
            plug = await self.bridge.plug_in(config.mac)
        else:
            plug = await self.bridge.plug_into(
                namespace, interface, address=address, address6=address6, mac=config.mac
            )
        addresses, addresses6 = self.bridge.addresses, self.bridge.addresses6
        return Membership(
            namespace=plug.namespace,
            leave=lambda: self.bridge.pull(plug),
            left=lambda: self.bridge.released(plug),
            address=plug.address,
            prefix_length=addresses.subnet.prefixlen,
            gateway="" if self.internal else str(addresses.gateway),
            address6=plug.address6,
            prefix_length6=addresses6.subnet.prefixlen if addresses6 else 0,
            gateway6=str(addresses6.gateway) if addresses6 and not self.internal else "",
            mac=plug.mac,
            interface=interface,
        )

    def _asked_for(self, config: EndpointConfig) -> ipaddress.IPv4Address | None:
        if not config.address:
            return None
        own = self.definition is not None and self.definition.own_subnet
        address = ipaddress.IPv4Address(config.address)
        self._check_asked_for(address, self.bridge.addresses.subnet if own else None)
        return address

    def _asked_for6(self, config: EndpointConfig) -> ipaddress.IPv6Address | None:
        if not config.address6:
            return None
        address = ipaddress.IPv6Address(config.address6)
        own = self.definition.subnet6 if self.definition is not None else ""
        self._check_asked_for(address, ipaddress.IPv6Network(own) if own else None)
        # As dockerd: a network without IPv6 may have a subnet of it, and gives nobody an address there.
        return address if self.bridge.addresses6 else None

    def _check_asked_for(self, address: Address, subnet: ipaddress._BaseNetwork[Address] | None) -> None:
        """Whether a container may have the address; None: the user did not choose the subnet."""
        if self.definition is None:
            raise InvalidParameter("user specified IP address is supported on user defined networks only")
        if subnet is None:
            raise InvalidParameter(
                "user specified IP address is supported only when connecting to networks with user configured"
                " subnets"
            )
        if address not in subnet:
            raise InvalidParameter(
                f"Invalid address {address}: It does not belong to any of this network's subnets"
            )
        if address in (subnet[0], subnet[-1]):
            raise Forbidden("Address already in use")

    async def _make_once(self) -> None:
        """Containers that start together wait for one making; after a failure the next one tries again."""
        if self._made is None or (self._made.done() and self._made.exception()):
            self._made = asyncio.ensure_future(self.bridge.make())
        await asyncio.shield(self._made)

    async def close(self) -> None:
        if self._made:
            await asyncio.wait([self._made])
            await self.bridge.close()

    def settings(self) -> dict[str, Any]:
        definition, addresses = self.definition, self.bridge.addresses
        if definition:
            return {
                "options": definition.options,
                "labels": definition.labels,
                "ipam": definition.ipam(),
                "ipv6": definition.ipv6,
                "ipam_options": definition.ipam_options,
                "internal": definition.internal,
                "attachable": definition.attachable,
            }
        pool = {"Subnet": str(addresses.subnet), "Gateway": str(addresses.gateway)}
        return {"options": self._options(), "labels": {}, "ipam": [pool]}

    def _options(self) -> Mapping[str, str]:
        return {
            "com.docker.network.bridge.default_bridge": "true",
            "com.docker.network.bridge.enable_icc": "true",
            "com.docker.network.bridge.enable_ip_masquerade": "true",
            "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
            "com.docker.network.bridge.name": self.bridge.interface,
            "com.docker.network.driver.mtu": str(self.bridge.mtu),
        }
