"""Networks and endpoints as the Engine API writes them: `Network`, `NetworkSettings`, `EndpointSettings`.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkernel.engine.network.definition import EndpointConfig


@dataclass
class Endpoint:
    """One running container's place on one network."""

    container_id: str
    name: str
    """The container's name."""
    network_id: str
    network_name: str
    driver: str
    """The network's."""
    endpoint_id: str
    address: str = ""
    prefix_length: int = 0
    gateway: str = ""
    address6: str = ""
    prefix_length6: int = 0
    gateway6: str = ""
    mac: str = ""
    interface: str = ""
    """Its name in the container: "eth0"."""
    aliases: Sequence[str] = ()
    """The names that it answers to on the network, besides the container's."""

    @property
    def addresses(self) -> list[str]:
        """Those it has: of IPv4, then of IPv6."""
        return [address for address in (self.address, self.address6) if address]


@dataclass
class SandboxDescription:
    """One running container's network: libnetwork calls it a sandbox."""

    sandbox_id: str = ""
    netns_path: str | None = None
    ports: Mapping[str, list[dict[str, str]] | None] = field(default_factory=dict)
    """As NetworkSettings.Ports: {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/tcp": None}."""
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    """By the network's name."""


def network_description(
    *,
    name: str,
    identity: str,
    created: str,
    driver: str,
    options: Mapping[str, str],
    labels: Mapping[str, str],
    ipam: Sequence[Mapping[str, Any]],
    endpoints: Sequence[Endpoint],
    ipam_options: Mapping[str, str] | None = None,
    ipv6: bool = False,
    internal: bool = False,
    attachable: bool = False,
) -> dict[str, Any]:
    """A network. `ipam` is a list of {"Subnet": ..., "Gateway": ...}; `created` is RFC 3339."""
    return {
        "Name": name,
        "Id": identity,
        "Created": created,
        "Scope": "local",
        "Driver": driver,
        "EnableIPv6": ipv6,
        "IPAM": {"Driver": "default", "Options": ipam_options, "Config": [dict(pool) for pool in ipam]},
        "Internal": internal,
        "Attachable": attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {
            endpoint.container_id: {
                "Name": endpoint.name,
                "EndpointID": endpoint.endpoint_id,
                "MacAddress": endpoint.mac,
                "IPv4Address": f"{endpoint.address}/{endpoint.prefix_length}" if endpoint.address else "",
                "IPv6Address": f"{endpoint.address6}/{endpoint.prefix_length6}" if endpoint.address6 else "",
            }
            for endpoint in endpoints
        },
        "Options": dict(options),
        "Labels": dict(labels),
    }


def network_settings(
    networks: Mapping[str, tuple[str, EndpointConfig]], sandbox: SandboxDescription | None
) -> dict[str, Any]:
    """A container's NetworkSettings.

    `networks` are those it is (or will be) on, name -> (id, what it asked of it); none when it shares another
    container's. `sandbox` is None while it does not run.
    """
    running = sandbox or SandboxDescription()
    # The fields of the days before networks had names speak of the default bridge alone.
    legacy = running.endpoints.get("bridge")
    return {
        "Bridge": "",
        "SandboxID": running.sandbox_id,
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Ports": dict(running.ports),
        "SandboxKey": running.netns_path or "",
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": legacy.endpoint_id if legacy else "",
        "Gateway": legacy.gateway if legacy else "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": legacy.address if legacy else "",
        "IPPrefixLen": legacy.prefix_length if legacy else 0,
        "IPv6Gateway": "",
        "MacAddress": legacy.mac if legacy else "",
        "Networks": {
            name: endpoint_settings(identity, config, running.endpoints.get(name))
            for name, (identity, config) in networks.items()
        },
    }


def endpoint_settings(network_id: str, config: EndpointConfig, endpoint: Endpoint | None) -> dict[str, Any]:
    """One entry of NetworkSettings.Networks."""
    asked = config.stored()
    return {
        "IPAMConfig": asked["IPAMConfig"],
        "Links": asked["Links"],
        "Aliases": list(endpoint.aliases) or None if endpoint else asked["Aliases"],
        "MacAddress": endpoint.mac if endpoint else asked["MacAddress"],
        "DriverOpts": asked["DriverOpts"],
        "NetworkID": endpoint.network_id if endpoint else network_id,
        "EndpointID": endpoint.endpoint_id if endpoint else "",
        "Gateway": endpoint.gateway if endpoint else "",
        "IPAddress": endpoint.address if endpoint else "",
        "IPPrefixLen": endpoint.prefix_length if endpoint else 0,
        "IPv6Gateway": endpoint.gateway6 if endpoint else "",
        "GlobalIPv6Address": endpoint.address6 if endpoint else "",
        "GlobalIPv6PrefixLen": endpoint.prefix_length6 if endpoint else 0,
    }
