"""The engine's networks: those that are always there, and those of its user; and who is on them."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labkernel.engine.database import Database
from labkernel.engine.errors import Conflict, EngineError, Forbidden, InvalidParameter, NotFound, System
from labkernel.engine.network.addresses import AddressPool, IPNetwork, choose_subnet
from labkernel.engine.network.bridge import READY, Bridge
from labkernel.engine.network.definition import Definition, EndpointConfig
from labkernel.engine.network.descriptions import Endpoint, network_settings
from labkernel.engine.network.firewall import BridgeRules
from labkernel.engine.network.host_ports import HostPorts
from labkernel.engine.network.namespaces import NamespaceThread, has_ipv6
from labkernel.engine.network.network import BridgeNetwork, HostNetwork, Network, NoneNetwork
from labkernel.engine.network.outside import Outside, host_subnets
from labkernel.engine.network.ports import PortBinding
from labkernel.engine.network.resolv_conf import (
    DEFAULT_NAMESERVERS,
    read_host_resolv_conf,
    usable_nameservers,
)
from labkernel.engine.network.sandbox import Sandbox, SandboxConfig
from labkernel.engine.timestamps import rfc3339

SCHEMA = """
CREATE TABLE IF NOT EXISTS networks (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    created TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS user_networks (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created TEXT NOT NULL,               -- RFC 3339
    definition TEXT NOT NULL             -- JSON: see Definition.stored
);
"""


class Networks:
    """All networks of one engine."""

    def __init__(
        self, thread: NamespaceThread, outside: Outside, database: Database, networks: Sequence[Network]
    ) -> None:
        self._thread = thread
        self._outside = outside
        self._database = database
        self._networks = {network.name: network for network in networks}
        self._sandboxes: dict[str, Sandbox] = {}
        self._host_ports = HostPorts()

    @classmethod
    async def open(cls, *, state_dir: Path, database: Database, rootless: bool) -> Networks:
        """Read the networks; remove what a killed engine with the same `state_dir` left behind.

        Only one engine may have the `state_dir` open.
        """
        database.create_tables(SCHEMA)
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
                routed = await thread.run(host_subnets, thread)
            except OSError as error:
                raise System(f"failed to open the network: {error}") from error
            undo.pop_all()
        rows = database.rows("SELECT * FROM user_networks ORDER BY rowid")
        defined = [Definition(**json.loads(row["definition"])) for row in rows]
        taken = [*routed, *(ipaddress.IPv4Network(definition.subnet) for definition in defined)]
        bridge = Bridge(
            thread,
            outside,
            BridgeRules(interface),
            AddressPool(choose_subnet(taken)),
            movable=True,
            ready=READY,
        )
        networks = cls(
            thread,
            outside,
            database,
            [
                BridgeNetwork(*_identity(database, "bridge"), bridge=bridge),
                NoneNetwork(*_identity(database, "none"), thread=thread),
                HostNetwork(*_identity(database, "host")),
            ],
        )
        for row, definition in zip(rows, defined, strict=True):
            networks._add(row["id"], row["created"], definition)
        return networks

    # networks of the user's

    async def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make a network from the body of `POST /networks/create`; what `inspect` says of it.

        Raises InvalidParameter, Forbidden, NotFound, NotOffered; Conflict when the name is taken.
        """
        name = body.get("Name") or ""
        if name in self._networks and name not in ("bridge", "host", "none"):
            raise Conflict(f"network with name {name} already exists")
        routed = await self._thread.run(host_subnets, self._thread)
        definition = Definition.requested(body, [*routed, *self._subnets()])
        identity, created = secrets.token_hex(32), rfc3339()
        if definition.ipv6 and not has_ipv6():
            interface = definition.option("bridge.name", f"lk-{identity[:12]}")
            raise System(
                f"Cannot read IPv6 setup for bridge {interface}: open"
                f" /proc/sys/net/ipv6/conf/{interface}/disable_ipv6: no such file or directory",
                hint="this kernel has no IPv6: leave --ipv6 out",
            )
        if definition.name in self._networks:  # somebody was quicker
            raise Conflict(f"network with name {name} already exists")
        self._database.execute(
            "INSERT INTO user_networks VALUES (?, ?, ?, ?)",
            (identity, definition.name, created, json.dumps(definition.stored())),
        )
        return self._add(identity, created, definition).describe()

    def _subnets(self) -> list[IPNetwork]:
        return [
            ipaddress.ip_network(str(pool.subnet))
            for network in self._networks.values()
            if isinstance(network, BridgeNetwork)
            for pool in (network.bridge.addresses, network.bridge.addresses6)
            if pool
        ]

    def _add(self, identity: str, created: str, definition: Definition) -> Network:
        rules = BridgeRules(
            interface=definition.option("bridge.name", f"lk-{identity[:12]}"),
            internal=definition.internal,
            masquerade=definition.flag("bridge.enable_ip_masquerade", True),
        )
        bridge = Bridge(
            self._thread,
            self._outside,
            rules,
            definition.addresses(),
            mtu=int(definition.option("driver.mtu", "0")),
            addresses6=definition.addresses6(),
            icc=definition.flag("bridge.enable_icc", True),
        )
        network = BridgeNetwork(definition.name, identity, created, bridge=bridge, definition=definition)
        self._networks[network.name] = network
        return network

    async def remove(self, name: str) -> dict[str, Any]:
        """Returns what `inspect` said of it. Raises NotFound, Forbidden: it is always there, or somebody is
        on it.
        """
        network = self.find(name)
        if not network.user_defined:
            raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
        if network.endpoints:
            on_it = ", ".join(sorted(endpoint.name for endpoint in network.endpoints.values()))
            raise Forbidden(
                f"error while removing network: network {network.name} id {network.identity} has active"
                " endpoints",
                hint=f"end or disconnect what is on it: {on_it}",
            )
        self._database.execute("DELETE FROM user_networks WHERE id = ?", (network.identity,))
        del self._networks[network.name]
        await network.close()
        return network.describe()

    # containers

    async def connect(
        self,
        container_id: str,
        mode: str,
        *,
        name: str = "",
        hostname: str = "",
        ports: Sequence[PortBinding] = (),
        exposed: Iterable[str] = (),
        nameservers: Sequence[str] = (),
        wanted: Mapping[str, EndpointConfig] | None = None,
    ) -> Sandbox:
        """Give a starting container its network.

        `mode` is HostConfig.NetworkMode: "", "default", "bridge", "none", "host", a network of the user's or
        "container:ID". `name` is the container's. `ports` come from `ports.requested_ports`, `exposed` are
        "80/tcp" keys; `nameservers` are asked instead of the host's. `wanted` are all the networks that it is
        to be on, by name, where that is not the mode's alone.

        Raises NotFound for an unknown network and System, in Docker's words, when a port is taken.
        """
        if container_id in self._sandboxes:
            raise Conflict(f"endpoint with name {name} already exists in network {mode}")
        config = SandboxConfig(container_id, name, hostname, ports, tuple(exposed), nameservers)
        sandbox = Sandbox(config, self._thread, self._outside, self._host_ports)
        if mode.startswith("container:"):
            sandbox.shares = self._sandbox_to_share(mode.partition(":")[2])
        else:
            names = wanted or {network_of(mode) or "": EndpointConfig()}
            found = [(self.find(name), asked) for name, asked in names.items()]
            try:
                for network, endpoint_config in found:
                    await sandbox.join(network, endpoint_config)
            except BaseException:
                await sandbox.close()
                raise
        self._sandboxes[container_id] = sandbox
        return sandbox

    def _sandbox_to_share(self, other_id: str) -> Sandbox:
        """Of another running container, which keeps it as long as a process is in it."""
        other = self._sandboxes.get(other_id)
        if other is None:
            raise Conflict(f"cannot join network of a non running container: {other_id}")
        return other.shares or other

    async def disconnect(self, container_id: str) -> None:
        """Take back everything `connect` gave. Silent when the container has nothing (any more)."""
        sandbox = self._sandboxes.pop(container_id, None)
        if sandbox is not None:
            await sandbox.close()

    def sandbox(self, container_id: str) -> Sandbox | None:
        """The running container's."""
        return self._sandboxes.get(container_id)

    def endpoints(self, container_id: str) -> list[Endpoint]:
        """The running container's."""
        sandbox = self._sandboxes.get(container_id)
        return list(sandbox.endpoints.values()) if sandbox else []

    def rename(self, container_id: str, name: str) -> None:
        """The container answers to another name from now on."""
        if sandbox := self._sandboxes.get(container_id):
            sandbox.rename(name)

    # showing

    def inspect(self, name: str) -> dict[str, Any]:
        """The body of `GET /networks/{name or id or unique prefix}`. Raises NotFound."""
        return self.find(name).describe()

    def find(self, name: str) -> Network:
        """By name, id, or the beginning of an id that no other shares. Raises NotFound, InvalidParameter."""
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

    def network_settings(self, container_id: str, networks: Mapping[str, EndpointConfig]) -> dict[str, Any]:
        """`NetworkSettings` of a container's inspect, running or not. `networks` are those it is to be on."""
        shown = {
            name: (self._networks[name].identity if name in self._networks else "", config)
            for name, config in networks.items()
        }
        sandbox = self._sandboxes.get(container_id)
        return network_settings(shown, sandbox.describe() if sandbox else None)

    async def reaches_world(self) -> bool:
        """Whether containers on a bridge can reach more than each other."""
        return await self._outside.reaches_world()

    async def warnings(self, names: Iterable[str]) -> list[str]:
        """What whoever makes a container on these networks is to be told."""
        if {*names} <= {"host", "none"} or await self.reaches_world():
            return []
        return [
            "containers here do not reach the outside world (RUN steps of a build do): "
            "`labkernel engine status` says why"
        ]

    def limits(self) -> list[str]:
        """What does not work here, in plain words, each with what to do about it."""
        found = self._outside.limits()
        if not self._outside.user_mode and not usable_nameservers(read_host_resolv_conf()):
            found.append(
                "the host's /etc/resolv.conf names no server that containers on a bridge can reach, so they"
                f" ask {' and '.join(DEFAULT_NAMESERVERS)}"
            )
        if self._outside.user_mode and any(subnet.version == 6 for subnet in self._subnets()):
            found.append(
                "containers on networks with IPv6 reach each other by it, but the outside world by IPv4 only;"
                " an engine that root runs leads out by both"
            )
        return found

    async def close(self) -> None:
        """Leave the host as `open` found it."""
        for container_id in [*self._sandboxes]:
            await self.disconnect(container_id)
        for network in self._networks.values():
            with contextlib.suppress(EngineError, OSError):
                await network.close()
        await self._outside.close()
        self._thread.close()

    def list(self) -> list[dict[str, Any]]:
        """Every network, as `inspect` shows it."""
        return [network.describe() for network in self._networks.values()]


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
    database.execute(
        "INSERT OR IGNORE INTO networks (name, id, created) VALUES (?, ?, ?)",
        (name, secrets.token_hex(32), rfc3339()),
    )
    row = database.row("SELECT name, id, created FROM networks WHERE name = ?", (name,))
    assert row
    return row["name"], row["id"], row["created"]
