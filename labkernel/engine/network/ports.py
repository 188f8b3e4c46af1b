"""Published ports as the API writes them: `HostConfig.PortBindings`, `ExposedPorts`, `PublishAllPorts`.

Pure: nothing here opens a socket. See `forwarder` for what listens on a host port.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from labkernel.engine.errors import InvalidParameter

PROTOCOLS = ("tcp", "udp")


@dataclass(frozen=True)
class PortBinding:
    """One wish to publish a container port. `host_ports` is tried in order; empty means an ephemeral port."""

    container_port: int
    protocol: str = "tcp"
    host_ip: str = ""
    host_ports: range = range(0)

    @property
    def key(self) -> str:
        """The port as the API spells it: "80/tcp"."""
        return f"{self.container_port}/{self.protocol}"


def requested_ports(host_config: Mapping[str, Any], exposed: Iterable[str] = ()) -> list[PortBinding]:
    """The bindings that a container's HostConfig asks for; `exposed` are its ports ("80/tcp") for
    PublishAllPorts.

    Raises InvalidParameter in Docker's words for a port that is none.
    """
    wishes: list[PortBinding] = []
    bindings = host_config.get("PortBindings") or {}
    for key, hosts in bindings.items():
        container_port, protocol = parse_port(key)
        # The API reads a missing or empty list as "publish it somewhere".
        for host in hosts or [{}]:
            host_ports = parse_host_port(host.get("HostPort") or "")
            wishes.append(PortBinding(container_port, protocol, host.get("HostIp") or "", host_ports))
    if host_config.get("PublishAllPorts"):
        for key in sorted(exposed, key=parse_port):
            if key not in bindings:
                wishes.append(PortBinding(*parse_port(key)))
    return wishes


def parse_port(key: str) -> tuple[int, str]:
    """ "80/tcp" or "80" -> (80, "tcp")."""
    number, _, protocol = key.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in PROTOCOLS:
        raise InvalidParameter(
            f'invalid port specification: "{key}"', hint="protocols offered are tcp and udp"
        )
    return _number(number, number), protocol


def parse_host_port(text: str) -> range:
    """ "" -> no port named, "8080" -> that one, "8000-8005" -> the first free one of these."""
    if not text:
        return range(0)
    first, dash, last = text.partition("-")
    start = _number(first, text)
    end = _number(last, text) if dash else start
    if end < start:
        raise InvalidParameter(f'invalid port specification: "{text}"')
    if start == 0:
        return range(0)
    return range(start, end + 1)


def _number(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise InvalidParameter(f'invalid port specification: "{whole}"')
    return int(text)
