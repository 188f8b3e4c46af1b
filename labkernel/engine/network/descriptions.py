"""Networks and endpoints as the Engine API writes them: `Network`, `NetworkSettings`, `EndpointSettings`.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Endpoint:
    """One running container's place on a network."""

    container_id: str
    name: str
    """The container's name."""
    network_id: str
    network_name: str
    endpoint_id: str
    netns_path: str | None
    """What the launcher opens and setns()es into; None: stay in the engine's (mode "host")."""
    sandbox_id: str = ""
    address: str = ""
    prefix_length: int = 0
    gateway: str = ""
    mac: str = ""
    ports: dict[str, list[dict[str, str]] | None] = field(default_factory=dict)
    """As NetworkSettings.Ports: {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/tcp": None}."""
    resolv_conf: str = ""
    """Content for the container's /etc/resolv.conf."""


def network_description(
    *,
    name: str,
    identity: str,
    created: str,
    driver: str,
    options: Mapping[str, str],
    labels: Mapping[str, str],
    ipam: Sequence[Mapping[str, str]],
    endpoints: Sequence[Endpoint],
) -> dict[str, Any]:
    """A network. `ipam` is a list of {"Subnet": ..., "Gateway": ...}; `created` is RFC 3339."""
    return {
        "Name": name,
        "Id": identity,
        "Created": created,
        "Scope": "local",
        "Driver": driver,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": [dict(pool) for pool in ipam]},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {
            endpoint.container_id: {
                "Name": endpoint.name,
                "EndpointID": endpoint.endpoint_id,
                "MacAddress": endpoint.mac,
                "IPv4Address": f"{endpoint.address}/{endpoint.prefix_length}" if endpoint.address else "",
                "IPv6Address": "",
            }
            for endpoint in endpoints
        },
        "Options": dict(options),
        "Labels": dict(labels),
    }


def network_settings(network: str | None, network_id: str, endpoint: Endpoint | None) -> dict[str, Any]:
    """A container's NetworkSettings.

    `network` is the name of the network it is (or will be) on, None when it shares another container's.
    `endpoint` is None while it does not run.
    """
    networks = {} if network is None else {network: endpoint_settings(network_id, endpoint)}
    # The fields of the days before networks had names speak of the default bridge alone.
    legacy = endpoint if endpoint is not None and network == "bridge" else None
    return {
        "Bridge": "",
        "SandboxID": endpoint.sandbox_id if endpoint else "",
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Ports": dict(endpoint.ports) if endpoint else {},
        "SandboxKey": (endpoint.netns_path or "") if endpoint else "",
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
        "Networks": networks,
    }


def endpoint_settings(network_id: str, endpoint: Endpoint | None) -> dict[str, Any]:
    """One entry of NetworkSettings.Networks."""
    return {
        "IPAMConfig": None,
        "Links": None,
        "Aliases": None,
        "MacAddress": endpoint.mac if endpoint else "",
        "DriverOpts": None,
        "NetworkID": endpoint.network_id if endpoint else network_id,
        "EndpointID": endpoint.endpoint_id if endpoint else "",
        "Gateway": endpoint.gateway if endpoint else "",
        "IPAddress": endpoint.address if endpoint else "",
        "IPPrefixLen": endpoint.prefix_length if endpoint else 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
    }
