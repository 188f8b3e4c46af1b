"""The engine's networks: where a container's interface, address and published ports come from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkernel.engine.database import Database
from labkernel.engine.network.ports import PortBinding


@dataclass
class Endpoint:
    """One running container's place on a network."""

    container_id: str
    name: str
    network_id: str
    network_name: str
    endpoint_id: str
    netns_path: str | None
    """What the launcher opens and setns()es into; None: stay in the engine's (mode "host")."""
    address: str = ""
    prefix_length: int = 0
    gateway: str = ""
    mac: str = ""
    ports: dict[str, list[dict[str, str]] | None] = field(default_factory=dict)
    """As NetworkSettings.Ports: {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/tcp": None}."""
    resolv_conf: str = ""
    """Content for the container's /etc/resolv.conf."""


class Networks:
    """All networks of one engine."""

    @classmethod
    async def open(cls, *, state_dir: Path, database: Database, rootless: bool) -> Networks:
        """Read the networks; remove what a killed engine with the same `state_dir` left behind."""
        raise NotImplementedError

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

        `mode` is HostConfig.NetworkMode: "", "default", "bridge", "none", "host" or "container:ID". `name` is the
        container's, for error messages. `ports` come from `ports.requested_ports`, `exposed` are "80/tcp" keys.
        Raises NotFound for an unknown network and System, in Docker's words, when a port is taken.
        """
        raise NotImplementedError

    async def disconnect(self, container_id: str) -> None:
        """Take back everything `connect` gave. Silent when the container has nothing (any more)."""
        raise NotImplementedError

    def endpoint(self, container_id: str) -> Endpoint | None:
        """The running container's endpoint."""
        raise NotImplementedError

    def list(self) -> list[dict[str, Any]]:
        """The body of `GET /networks`."""
        raise NotImplementedError

    def inspect(self, name: str) -> dict[str, Any]:
        """The body of `GET /networks/{name or id or unique prefix}`. Raises NotFound."""
        raise NotImplementedError

    def network_settings(self, container_id: str, mode: str) -> dict[str, Any]:
        """`NetworkSettings` of a container's inspect, running or not."""
        raise NotImplementedError

    def limits(self) -> list[str]:
        """What does not work here, in plain words, each with what to do about it."""
        raise NotImplementedError

    async def close(self) -> None:
        """Leave the host as `open` found it."""
        raise NotImplementedError
