"""The engine's networks: where a container's interface, address and published ports come from."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labkernel.engine.database import Database
from labkernel.engine.errors import Conflict, EngineError, InvalidParameter, NotFound, System
from labkernel.engine.network.addresses import choose_subnet
from labkernel.engine.network.bridge import Bridge
from labkernel.engine.network.descriptions import Endpoint, network_settings
from labkernel.engine.network.host_ports import BoundPort, HostPorts
from labkernel.engine.network.namespaces import NamespaceThread
from labkernel.engine.network.network import BridgeNetwork, HostNetwork, Membership, Network, NoneNetwork
from labkernel.engine.network.outside import Outside, host_subnets
from labkernel.engine.network.ports import PortBinding
from labkernel.engine.network.published import Published
from labkernel.engine.network.resolv_conf import (
    DEFAULT_NAMESERVERS,
    container_resolv_conf,
    read_host_resolv_conf,
    usable_nameservers,
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS networks (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    created TEXT NOT NULL
);
"""


@dataclass
class Connection:
    """What a running container holds, to be given back by `disconnect`."""

    endpoint: Endpoint
    network: Network | None
    membership: Membership
    published: Published | None = None


class Networks:
    """All networks of one engine."""

    def __init__(self, thread: NamespaceThread, outside: Outside, networks: Sequence[Network]) -> None:
        self._thread = thread
        self._outside = outside
        self._networks = {network.name: network for network in networks}
        self._connections: dict[str, Connection] = {}
        self._host_ports = HostPorts()

    @classmethod
    async def open(cls, *, state_dir: Path, database: Database, rootless: bool) -> Networks:
        """Read the networks; remove what a killed engine with the same `state_dir` left behind.

        Only one engine may have the `state_dir` open.
        """
        interface = interface_name(state_dir)
        table = interface.replace("lk-", "labkernel-")
        async with contextlib.AsyncExitStack() as undo:
            try:
                thread = NamespaceThread(rootless=rootless)
                undo.callback(thread.close)
                outside = await thread.run(Outside, thread, table, state_dir, rootless)
                undo.push_async_callback(outside.close)
                outside.start_user_mode()
                await thread.run(outside.remove_interface, interface)
                subnet = choose_subnet(await thread.run(host_subnets, thread))
            except OSError as error:
                raise System(f"failed to open the network: {error}") from error
            undo.pop_all()
        bridge = Bridge(thread, outside, interface, subnet)
        networks = [
            BridgeNetwork(*_identity(database, "bridge"), bridge=bridge),
            NoneNetwork(*_identity(database, "none"), thread=thread),
            HostNetwork(*_identity(database, "host")),
        ]
        return cls(thread, outside, networks)

    async def connect(
        self,
        container_id: str,
        mode: str,
        *,
        name: str = "",
        ports: Sequence[PortBinding] = (),
        exposed: Iterable[str] = (),
        mac_address: str = "",
    ) -> Endpoint:
        """Give a starting container its network.

        `mode` is HostConfig.NetworkMode: "", "default", "bridge", "none", "host" or "container:ID". `name` is
        the container's, for error messages. `ports` come from `ports.requested_ports`, `exposed` are "80/tcp"
        keys. Raises NotFound for an unknown network and System, in Docker's words, when a port is taken.
        """
        if container_id in self._connections:
            raise Conflict(f"endpoint with name {name} already exists in network {mode}")
        if mode.startswith("container:"):
            connection = self._share(container_id, name, mode.partition(":")[2])
        else:
            network = self._find(network_of(mode) or "")
            connection = await self._join(network, container_id, name, ports, mac_address)
            if connection.membership.address:
                connection.endpoint.ports |= dict.fromkeys(exposed) | connection.endpoint.ports
            network.endpoints[container_id] = connection.endpoint
        self._connections[container_id] = connection
        return connection.endpoint

    async def _join(
        self, network: Network, container_id: str, name: str, ports: Sequence[PortBinding], mac: str
    ) -> Connection:
        endpoint_id = secrets.token_hex(32)
        with contextlib.ExitStack() as undo:
            # The cheap step that fails most often comes first.
            bound = self._bind(ports, name, endpoint_id) if isinstance(network, BridgeNetwork) else []
            undo.callback(self._host_ports.release, bound)
            membership = await network.join(mac)
            undo.callback(membership.leave)
            published = None
            if bound and membership.address:
                published = Published(
                    bound, membership.address, self._outside.socket, self._host_ports, self._outside.firewall
                )
            undo.pop_all()
        endpoint = Endpoint(
            container_id=container_id,
            name=name,
            network_id=network.identity,
            network_name=network.name,
            endpoint_id=endpoint_id,
            netns_path=membership.netns_path,
            sandbox_id=secrets.token_hex(32),
            address=str(membership.address or ""),
            prefix_length=membership.prefix_length,
            gateway=membership.gateway,
            mac=membership.mac,
            ports=dict(published.ports) if published else {},
            resolv_conf=self._resolv_conf(network),
        )
        return Connection(endpoint, network, membership, published)

    def _bind(self, ports: Sequence[PortBinding], name: str, endpoint_id: str) -> list[BoundPort]:
        try:
            return self._host_ports.bind(ports, name)
        except System as error:
            raise System(
                "driver failed programming external connectivity on endpoint"
                f" {name} ({endpoint_id}): {error.message}",
                hint=error.hint,
            ) from None

    def _share(self, container_id: str, name: str, other_id: str) -> Connection:
        """The network of another running container, which keeps it as long as a process is in it."""
        other = self._connections.get(other_id)
        if other is None:
            raise Conflict(f"cannot join network of a non running container: {other_id}")
        shared = other.endpoint
        endpoint = Endpoint(container_id, name, "", "", "", shared.netns_path, resolv_conf=shared.resolv_conf)
        return Connection(endpoint, None, Membership(shared.netns_path, lambda: None))

    def _resolv_conf(self, network: Network) -> str:
        if not isinstance(network, BridgeNetwork):
            return read_host_resolv_conf(through_loopback=True)
        return container_resolv_conf(read_host_resolv_conf(), nameservers=self._outside.nameservers)

    async def disconnect(self, container_id: str) -> None:
        """Take back everything `connect` gave. Silent when the container has nothing (any more)."""
        connection = self._connections.pop(container_id, None)
        if connection is None:
            return
        if connection.network:
            connection.network.endpoints.pop(container_id, None)
        if connection.published:
            connection.published.close()
        connection.membership.leave()

    def endpoint(self, container_id: str) -> Endpoint | None:
        """The running container's endpoint."""
        connection = self._connections.get(container_id)
        return connection.endpoint if connection else None

    def inspect(self, name: str) -> dict[str, Any]:
        """The body of `GET /networks/{name or id or unique prefix}`. Raises NotFound."""
        return self._find(name).describe()

    def _find(self, name: str) -> Network:
        if name in self._networks:
            return self._networks[name]
        found = [network for network in self._networks.values() if name and network.identity.startswith(name)]
        if len(found) > 1:
            raise InvalidParameter(
                f"network {name} is ambiguous ({len(found)} matches found based on ID prefix)"
            )
        if not found:
            raise NotFound(f"network {name} not found", hint=f"networks here: {', '.join(self._networks)}")
        return found[0]

    def network_settings(self, container_id: str, mode: str) -> dict[str, Any]:
        """`NetworkSettings` of a container's inspect, running or not."""
        name = network_of(mode)
        network = self._networks.get(name or "")
        return network_settings(name, network.identity if network else "", self.endpoint(container_id))

    async def reaches_world(self) -> bool:
        """Whether containers on a bridge can reach more than each other."""
        return await self._outside.reaches_world()

    def limits(self) -> list[str]:
        """What does not work here, in plain words, each with what to do about it."""
        found = self._outside.limits()
        if not self._outside.user_mode and not usable_nameservers(read_host_resolv_conf()):
            found.append(
                "the host's /etc/resolv.conf names no server that containers on a bridge can reach, so they"
                f" ask {' and '.join(DEFAULT_NAMESERVERS)}"
            )
        return found

    async def close(self) -> None:
        """Leave the host as `open` found it."""
        for container_id in [*self._connections]:
            await self.disconnect(container_id)
        for network in self._networks.values():
            with contextlib.suppress(EngineError, OSError):
                await network.close()
        await self._outside.close()
        self._thread.close()

    def list(self) -> list[dict[str, Any]]:
        """The body of `GET /networks`: as `inspect`, without the containers."""
        return [network.describe() | {"Containers": {}} for network in self._networks.values()]


def interface_name(state_dir: Path) -> str:
    """The default bridge's interface, at most 15 characters; engines with other roots have other names."""
    return "lk-" + hashlib.blake2s(str(state_dir.resolve()).encode(), digest_size=4).hexdigest()


def network_of(mode: str) -> str | None:
    """The name of the network that a HostConfig.NetworkMode means; None for another container's."""
    if mode.startswith("container:"):
        return None
    return "bridge" if mode in ("", "default") else mode


def _identity(database: Database, name: str) -> tuple[str, str, str]:
    """(name, id, created) of a network that is always there: made up once, then remembered."""
    database.create_tables(SCHEMA)
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    database.execute(
        "INSERT OR IGNORE INTO networks (name, id, created) VALUES (?, ?, ?)",
        (name, secrets.token_hex(32), now),
    )
    row = database.row("SELECT name, id, created FROM networks WHERE name = ?", (name,))
    assert row
    return row["name"], row["id"], row["created"]
