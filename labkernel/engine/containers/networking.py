"""Which networks a container is on: as it is made, and changed later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkernel.engine.containers.container import Container
from labkernel.engine.errors import Forbidden, InvalidParameter, NotFound
from labkernel.engine.network.definition import EndpointConfig
from labkernel.engine.network.networks import Networks, network_of

_HOST = "container cannot be disconnected from host network or connected to host network"


def requested(
    body: Mapping[str, Any], config: Mapping[str, Any], host_config: Mapping[str, Any], networks: Networks
) -> dict[str, EndpointConfig]:
    """The networks of a container that is made, by name, from NetworkMode and NetworkingConfig.

    Raises InvalidParameter. A network that is not there is missed by the start.
    """
    mode = network_of(host_config["NetworkMode"])
    if mode is None:
        return {}
    if config.get("NetworkDisabled"):
        return {"none": EndpointConfig()}
    given = (body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
    found = {
        _name(network, networks): EndpointConfig.requested(settings) for network, settings in given.items()
    }
    if len(found) > 1:
        raise InvalidParameter(
            f"Container cannot be connected to network endpoints: {', '.join(given)}",
            hint="docker network connect puts it on another one",
        )
    for name, endpoint in found.items():
        _check(name, endpoint)
    mac = config.get("MacAddress") or ""
    return found or {_name(mode, networks): EndpointConfig(mac=mac)}


def _name(network: str, networks: Networks) -> str:
    """The name, of a network that may be given by its id."""
    try:
        return networks.find(network_of(network) or "").name
    except NotFound:
        return network


def _check(name: str, endpoint: EndpointConfig) -> None:
    if name in ("bridge", "host", "none"):
        if endpoint.address or endpoint.address6:
            raise InvalidParameter("user specified IP address is supported on user defined networks only")
        if endpoint.aliases:
            raise InvalidParameter(
                "network-scoped alias is supported only for containers in user defined networks"
            )


def check_connect(container: Container, network: str, endpoint: EndpointConfig) -> None:
    """Whether a container may be put on one more network. Raises Forbidden, InvalidParameter."""
    if container.host_config["NetworkMode"].startswith("container:"):
        raise InvalidParameter(
            "container sharing network namespace with another container or host cannot be connected to any"
            " other network"
        )
    on_host = "host" in container.networks
    if (on_host or network == "host") and container.state.running:
        raise InvalidParameter(_HOST)
    if container.networks and ("none" in container.networks or network == "none"):
        raise InvalidParameter(
            "container cannot be connected to multiple networks with one of the networks in private (none)"
            " mode"
        )
    if network in container.networks:
        raise Forbidden(f"endpoint with name {container.name} already exists in network {network}")
    _check(network, endpoint)


def check_disconnect(container: Container, network: str) -> None:
    """Raises Forbidden, InvalidParameter."""
    if network == "host" and network in container.networks and container.state.running:
        raise InvalidParameter(_HOST)
    if network not in container.networks:
        raise Forbidden(f"container {container.id} is not connected to network {network}")
