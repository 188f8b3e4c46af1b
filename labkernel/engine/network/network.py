"""The kinds of network: what a container gets when it joins one."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labkernel.engine.errors import System
from labkernel.engine.network.bridge import Bridge
from labkernel.engine.network.descriptions import Endpoint, network_description
from labkernel.engine.network.namespaces import NamespaceThread, new_namespace


@dataclass(frozen=True)
class Membership:
    """A container's part in a network. `leave` gives it back."""

    netns_path: str | None
    leave: Callable[[], None]
    address: ipaddress.IPv4Address | None = None
    prefix_length: int = 0
    gateway: str = ""
    mac: str = ""


@dataclass
class Network:
    """What all kinds have in common. `created` is RFC 3339."""

    name: str
    identity: str
    created: str
    driver = ""
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    """Of the running containers, by container id."""

    async def join(self, mac: str) -> Membership:
        """Raises System when the kernel refuses."""
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing to take apart, unless the kind says otherwise."""

    def ipam(self) -> list[Mapping[str, str]]:
        return []

    def options(self) -> Mapping[str, str]:
        return {}

    def describe(self) -> dict[str, Any]:
        """The network as the API writes it."""
        return network_description(
            name=self.name,
            identity=self.identity,
            created=self.created,
            driver=self.driver,
            options=self.options(),
            labels={},
            ipam=self.ipam(),
            endpoints=list(self.endpoints.values()),
        )


class HostNetwork(Network):
    """The engine's own network namespace."""

    driver = "host"

    async def join(self, mac: str) -> Membership:
        return Membership(None, lambda: None)


@dataclass
class NoneNetwork(Network):
    """A namespace with nothing but a loopback."""

    driver = "null"

    thread: NamespaceThread = field(kw_only=True)

    async def join(self, mac: str) -> Membership:
        making = asyncio.ensure_future(self.thread.run(new_namespace))
        try:
            namespace = await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(lambda made: made.result().close())
            raise
        except OSError as error:
            raise System(f"failed to create a network namespace: {error}") from error
        return Membership(namespace.path, namespace.close)


@dataclass
class BridgeNetwork(Network):
    """A bridge with addresses, made when the first container joins."""

    driver = "bridge"

    bridge: Bridge = field(kw_only=True)
    _made: asyncio.Task[None] | None = None

    async def join(self, mac: str) -> Membership:
        await self._make_once()
        plug = await self.bridge.plug_in(mac)
        addresses = self.bridge.addresses
        return Membership(
            netns_path=plug.namespace.path,
            leave=lambda: self.bridge.unplug(plug),
            address=plug.address,
            prefix_length=addresses.subnet.prefixlen,
            gateway=str(addresses.gateway),
            mac=plug.mac,
        )

    async def _make_once(self) -> None:
        """Containers that start together wait for one making; after a failure the next one tries again."""
        if self._made is None or (self._made.done() and self._made.exception()):
            self._made = asyncio.ensure_future(self.bridge.make())
        await asyncio.shield(self._made)

    async def close(self) -> None:
        if self._made:
            await asyncio.wait([self._made])
            await self.bridge.close()

    def ipam(self) -> list[Mapping[str, str]]:
        addresses = self.bridge.addresses
        return [{"Subnet": str(addresses.subnet), "Gateway": str(addresses.gateway)}]

    def options(self) -> Mapping[str, str]:
        return {
            "com.docker.network.bridge.default_bridge": "true",
            "com.docker.network.bridge.enable_icc": "true",
            "com.docker.network.bridge.enable_ip_masquerade": "true",
            "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
            "com.docker.network.bridge.name": self.bridge.interface,
            "com.docker.network.driver.mtu": str(self.bridge.mtu),
        }
