"""-p and --expose: ports and ranges of ports as they are typed (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from labkernel.commands.errors import CommandError

_PROTOCOLS = {"tcp", "udp", "sctp"}


def publish_spec(specs: Sequence[str]) -> tuple[dict[str, list[dict[str, str]]], list[str]]:
    """["8080:80", "127.0.0.1::53/udp"] -> (HostConfig.PortBindings, the container's ports).

    Raises CommandError for what is no port.
    """
    bindings: dict[str, list[dict[str, str]]] = {}
    for spec in specs:
        for port, binding in _publish(spec):
            bindings.setdefault(port, []).append(binding)
    return bindings, list(bindings)


def _publish(spec: str) -> Iterator[tuple[str, dict[str, str]]]:
    body, _, protocol = spec.partition("/")
    protocol = (protocol or "tcp").lower()
    match = re.fullmatch(
        r"(?:(?P<address>\[[^\]]*\]|[^:\[\]]*):)??(?:(?P<host>[^:]*):)?(?P<inner>[^:]+)", body
    )
    if not match or protocol not in _PROTOCOLS:
        reason = f"invalid proto: {protocol}" if match else f"invalid publish format: {spec}"
        raise _invalid(reason, spec)
    address, host = (match["address"] or "").strip("[]"), match["host"] or ""
    inner_ports = _range(match["inner"], spec, "containerPort")
    host_ports = _range(host, spec, "hostPort") if host else []
    if host_ports and len(host_ports) != len(inner_ports) and len(inner_ports) != 1:
        raise _invalid(
            f"invalid ranges specified for container and host Ports: {match['inner']} and {host}", spec
        )
    for index, inner in enumerate(inner_ports):
        if not host_ports:
            chosen = ""
        elif len(host_ports) == len(inner_ports):
            chosen = str(host_ports[index])
        else:
            chosen = host  # one port in the container, a range to choose from on the host
        yield f"{inner}/{protocol}", {"HostIp": address, "HostPort": chosen}


def expose_spec(specs: Sequence[str]) -> list[str]:
    """["80", "53/udp", "7000-7002"] -> ["80/tcp", "53/udp", "7000/tcp", "7001/tcp", "7002/tcp"]."""
    ports = []
    for spec in specs:
        body, _, protocol = spec.partition("/")
        protocol = (protocol or "tcp").lower()
        if ":" in body or protocol not in _PROTOCOLS:
            raise CommandError(f"invalid port format for --expose: {spec}", exit_code=125)
        ports += [f"{port}/{protocol}" for port in _range(body, spec, "port")]
    return ports


def _range(text: str, spec: str, what: str) -> list[int]:
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if not match or not int(match[1]) <= int(match[2] or match[1]) <= 65535:
        raise _invalid(f"invalid {what}: {text}", spec)
    return list(range(int(match[1]), int(match[2] or match[1]) + 1))


def _invalid(reason: str, spec: str) -> CommandError:
    return CommandError(
        f'invalid argument "{spec}" for "-p, --publish" flag: {reason}',
        hint="write it as HOSTPORT:PORT, such as -p 8080:80 (first here, then in the container)",
        exit_code=125,
    )
