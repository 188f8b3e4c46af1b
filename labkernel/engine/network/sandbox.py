"""One running container's network. libnetwork's word for it is sandbox: a namespace with endpoints in it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace

from labkernel.engine.errors import Forbidden, NotFound, System
from labkernel.engine.linux import rtnetlink
from labkernel.engine.network.addresses import IPAddress
from labkernel.engine.network.definition import EndpointConfig
from labkernel.engine.network.descriptions import Endpoint, SandboxDescription
from labkernel.engine.network.host_ports import BoundPort, HostPorts
from labkernel.engine.network.namespaces import NamespaceThread, NetworkNamespace
from labkernel.engine.network.network import BridgeNetwork, Membership, Network
from labkernel.engine.network.outside import Outside
from labkernel.engine.network.ports import PortBinding
from labkernel.engine.network.published import Published
from labkernel.engine.network.resolv_conf import (
    DEFAULT_NAMESERVERS,
    container_resolv_conf,
    nameservers,
    read_host_resolv_conf,
)
from labkernel.engine.network.resolver import ADDRESS, Resolver, Upstream


@dataclass(frozen=True)
class SandboxConfig:
    """What a container asks for, whatever networks it is on."""

    container_id: str
    name: str
    hostname: str = ""
    ports: Sequence[PortBinding] = ()
    exposed: Sequence[str] = ()
    """ "80/tcp" keys."""
    nameservers: Sequence[str] = ()
    """Its own servers instead of the host's."""


@dataclass
class Member:
    """A sandbox's part in one network."""

    network: Network
    config: EndpointConfig
    membership: Membership
    endpoint: Endpoint


class Sandbox:
    """Networks join and leave it; its default route and its published ports follow."""

    def __init__(
        self, config: SandboxConfig, thread: NamespaceThread, outside: Outside, host_ports: HostPorts
    ) -> None:
        self.config = config
        self.members: dict[str, Member] = {}
        """By the network's name."""
        self.shares: Sandbox | None = None
        """Another container's, whose namespace this is."""
        self.identity = secrets.token_hex(32)
        self.resolver: Resolver | None = None
        self._thread = thread
        self._outside = outside
        self._host_ports = host_ports
        self._namespace: NetworkNamespace | None = None
        self._gateway: Member | None = None
        self._bound: list[BoundPort] = []
        self._published: Published | None = None
        self._upstream = Upstream()
        self._lock = asyncio.Lock()

    # what it is

    @property
    def netns_path(self) -> str | None:
        """What the launcher opens and setns()es into; None: stay in the engine's (mode "host")."""
        if self.shares:
            return self.shares.netns_path
        return self._namespace.path if self._namespace else None

    @property
    def resolv_conf(self) -> str:
        """Content for the container's /etc/resolv.conf."""
        if self.shares:
            return self.shares.resolv_conf
        if self.resolver:
            return container_resolv_conf(read_host_resolv_conf(), nameservers=[str(ADDRESS)])
        if self._gateway is None and not any(member.network.internal for member in self.members.values()):
            return read_host_resolv_conf(through_loopback=True)
        return container_resolv_conf(read_host_resolv_conf(), nameservers=self._outside.nameservers)

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        return {name: member.endpoint for name, member in self.members.items()}

    @property
    def ports(self) -> dict[str, list[dict[str, str]] | None]:
        published = dict(self._published.ports) if self._published else {}
        if not any(isinstance(member.network, BridgeNetwork) for member in self.members.values()):
            return {}
        return {**dict.fromkeys(self.config.exposed), **published}

    @property
    def gateway(self) -> str:
        """The address that leads out, "" where nothing does."""
        return self._gateway.endpoint.gateway if self._gateway else ""

    @property
    def host_address(self) -> str:
        """Where the container reaches the machine that it is on, "" where it does not."""
        if self.shares:
            return self.shares.host_address
        if "host" in self.members:
            return "127.0.0.1"
        return (self._gateway and (self._outside.host_address or self._gateway.endpoint.gateway)) or ""

    @property
    def addresses(self) -> list[str]:
        """All of its addresses, of each network first that of IPv4."""
        return [address for endpoint in self.endpoints.values() for address in endpoint.addresses]

    def describe(self) -> SandboxDescription:
        return SandboxDescription(
            sandbox_id="" if self.shares else self.identity,
            netns_path=self.netns_path,
            ports=self.ports,
            endpoints=self.endpoints,
        )

    # what changes it

    def rename(self, name: str) -> None:
        """The container answers to another name from now on."""
        self.config = replace(self.config, name=name)
        for endpoint in self.endpoints.values():
            endpoint.name = name

    async def join(self, network: Network, config: EndpointConfig) -> Endpoint:
        """Put the container on a network.

        Raises Forbidden, InvalidParameter, System; all is as before then.
        """
        async with self._lock:
            if network.name in self.members:
                raise Forbidden(
                    f"endpoint with name {self.config.name} already exists in network {network.name}"
                )
            try:
                return await self._join(network, config)
            except BaseException:
                if network.name in self.members:
                    await self._leave(self.members[network.name])
                if not self.members:
                    self._unpublish()  # ports are bound before the first network is joined
                raise

    async def _join(self, network: Network, config: EndpointConfig) -> Endpoint:
        endpoint_id = secrets.token_hex(32)
        if not self.members and isinstance(network, BridgeNetwork) and not network.internal:
            self._bind(network, endpoint_id)  # the cheap step that fails most often comes first
        taken = {member.membership.interface for member in self.members.values()}
        interface = next(name for number in range(len(taken) + 1) if (name := f"eth{number}") not in taken)
        membership = await network.join(self._namespace, interface, config)
        self._namespace = self._namespace or membership.namespace
        aliases = [*config.aliases]
        if network.user_defined:
            own = (self.config.container_id[:12], self.config.hostname)
            aliases = list(dict.fromkeys([*aliases, *filter(None, own)]))
        endpoint = Endpoint(
            container_id=self.config.container_id,
            name=self.config.name,
            network_id=network.identity,
            network_name=network.name,
            driver=network.driver,
            endpoint_id=endpoint_id,
            address=str(membership.address or ""),
            prefix_length=membership.prefix_length,
            gateway=membership.gateway,
            address6=str(membership.address6 or ""),
            prefix_length6=membership.prefix_length6,
            gateway6=membership.gateway6,
            mac=membership.mac,
            interface=membership.interface,
            aliases=aliases,
        )
        self.members[network.name] = Member(network, config, membership, endpoint)
        network.endpoints[self.config.container_id] = endpoint
        await self._choose_gateway()
        if network.user_defined:
            await self._resolve()
        return endpoint

    async def leave(self, network: Network) -> Endpoint:
        """Take the container off a network while it runs on. Raises Forbidden when it is not on it."""
        async with self._lock:
            member = self.members.get(network.name)
            if member is None or member.network is not network:
                raise Forbidden(
                    f"container {self.config.container_id} is not connected to network {network.name}"
                )
            await self._leave(member)
            return member.endpoint

    async def _leave(self, member: Member) -> None:
        self._forget(member)
        await self._choose_gateway()
        await member.membership.leave()

    def _forget(self, member: Member) -> None:
        self.members.pop(member.network.name, None)
        member.network.endpoints.pop(self.config.container_id, None)

    async def close(self) -> None:
        """Give everything back. The namespace goes when its last process has gone."""
        self._unpublish()
        if self.resolver:
            self.resolver.close()
            self.resolver = None
        members = list(self.members.values())
        for member in members:
            self._forget(member)
        if self._namespace:
            self._namespace.close()
            self._namespace = None
        for member in members:
            member.membership.left()

    # the way out

    async def _choose_gateway(self) -> None:
        """The first network by name, of those that lead out (libnetwork's order)."""
        outward = [
            member
            for member in self.members.values()
            if isinstance(member.network, BridgeNetwork) and not member.network.internal
        ]
        chosen = min(outward, key=lambda member: member.network.name, default=None)
        before, self._gateway = self._gateway, chosen
        if chosen is before:
            return
        alone = before is None and len(self.members) == 1  # a new namespace has its route already
        if not alone:
            await self._thread.run(self._lead, chosen.endpoint if chosen else None)
        if before:
            self._unpublish()
        if chosen:
            self._publish(chosen)

    def _lead(self, chosen: Endpoint | None) -> None:
        """Runs in the namespace thread."""
        assert self._namespace
        self._namespace.enter()
        gateways = (chosen.gateway, chosen.gateway6) if chosen else ("", "")
        try:
            for family, gateway in zip((socket.AF_INET, socket.AF_INET6), gateways, strict=True):
                if gateway:
                    route = rtnetlink.new_default_route(ipaddress.ip_address(gateway))
                    self._namespace.netlink.request(route, call="RTM_NEWROUTE")
                else:
                    with contextlib.suppress(OSError):  # there is none, or it went with its interface
                        self._namespace.netlink.request(
                            rtnetlink.delete_default_route(family), call="RTM_DELROUTE"
                        )
        finally:
            self._namespace.leave_alone()

    def _publish(self, member: Member) -> None:
        if not self.config.ports or member.membership.address is None:
            return
        if not self._bound:
            assert isinstance(member.network, BridgeNetwork)
            self._bind(member.network, member.endpoint.endpoint_id)
        bound, self._bound = self._bound, []
        self._published = Published(
            bound, member.membership.address, self._outside.socket, self._host_ports, self._outside.firewall
        )

    def _bind(self, network: BridgeNetwork, endpoint_id: str) -> None:
        definition = network.definition
        host_ip = definition.option("bridge.host_binding_ipv4", "") if definition else ""
        ports = [replace(port, host_ip=port.host_ip or host_ip) for port in self.config.ports]
        try:
            self._bound = self._host_ports.bind(ports, self.config.name)
        except System as error:
            raise System(
                "driver failed programming external connectivity on endpoint"
                f" {self.config.name} ({endpoint_id}): {error.message}",
                hint=error.hint,
            ) from None

    def _unpublish(self) -> None:
        if self._published:
            self._published.close()
            self._published = None
        self._host_ports.release(self._bound)
        self._bound = []

    # names

    async def _resolve(self) -> None:
        if self.resolver or self._namespace is None:
            return
        resolver = Resolver(self, self._forward)
        try:
            await resolver.start(self._thread, self._namespace)
        except OSError as error:
            resolver.close()
            raise System(f"failed to start the container's name server: {error}") from error
        self.resolver = resolver

    async def _forward(self, question: bytes, tcp: bool) -> bytes | None:
        if self._gateway is None:
            return None  # an internal network's containers learn nothing from outside
        if self.config.nameservers:
            return await self._upstream.ask(self.config.nameservers, self._own_socket, question, tcp=tcp)
        # Asked by the engine itself, also a server on the host's loopback (systemd-resolved) answers.
        host = nameservers(read_host_resolv_conf(through_loopback=True)) or DEFAULT_NAMESERVERS
        return await self._upstream.ask(host, _engine_socket, question, tcp=tcp)

    async def _own_socket(self, kind: socket.SocketKind) -> socket.socket:
        def make() -> socket.socket:
            if self._namespace is None:
                raise NotFound("the container has ended")
            self._namespace.enter()
            self._namespace.leave_alone()
            return socket.socket(socket.AF_INET, kind)

        return await self._thread.run(make)

    def addresses_of(self, name: str) -> list[IPAddress] | None:
        """See `resolver.Names`."""
        wanted = name.lower()
        for member in sorted(self.members.values(), key=lambda member: member.network.name):
            if not member.network.user_defined:
                continue
            host, dot, suffix = wanted.rpartition(".")
            names = {wanted, host} if dot and suffix == member.network.name.lower() else {wanted}
            for link in member.config.links:
                target, _, alias = link.partition(":")
                if (alias or target).lower() in names:
                    names.add(target.lower())
            found = [
                ipaddress.ip_address(address)
                for endpoint in member.network.endpoints.values()
                for address in endpoint.addresses
                if names & {word.lower() for word in (endpoint.name, *endpoint.aliases)}
            ]
            if found:
                return found
        return None

    def name_of(self, address: IPAddress) -> str | None:
        """See `resolver.Names`."""
        for member in self.members.values():
            if member.network.user_defined:
                for endpoint in member.network.endpoints.values():
                    if str(address) in endpoint.addresses:
                        return f"{endpoint.name}.{member.network.name}"
        return None


async def _engine_socket(kind: socket.SocketKind) -> socket.socket:
    return socket.socket(socket.AF_INET, kind)
