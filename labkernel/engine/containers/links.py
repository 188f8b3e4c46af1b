"""`docker run --link NAME:ALIAS` on the default bridge: names in /etc/hosts and variables of the environment.

Source: moby, daemon/links and opts.ParseLink. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from labkernel.engine.errors import InvalidParameter

_LEFT_OUT = ("HOME", "PATH")


def parse_link(text: str) -> tuple[str, str]:
    """`NAME:ALIAS`, `NAME`, or inspect's own `/NAME:/PARENT/ALIAS` -> (name, alias).

    Raises:
        InvalidParameter: neither.
    """
    parts = text.split(":")
    if not text:
        raise InvalidParameter("empty string specified for links")
    if len(parts) > 2:
        raise InvalidParameter(f"bad format for links: {text}")
    if len(parts) == 1:
        return text, text
    if parts[0].startswith("/"):
        return parts[0][1:], parts[1].rpartition("/")[2]
    return parts[0], parts[1]


def link_environment(
    parent: str, alias: str, address: str, environment: Iterable[str], exposed: Iterable[str]
) -> list[str]:
    """The variables that tell container `parent` of the one it calls `alias`: where its ports are, and what
    its own variables say. `exposed` are as in Config.ExposedPorts.
    """
    word = alias.upper().replace("-", "_")
    ports = sorted(map(_port, exposed), key=lambda port: (port[0], port[1] != "tcp", port[1]))
    lines = []
    if ports:
        number, protocol = ports[0]
        lines.append(f"{word}_PORT={protocol}://{address}:{number}")
    for first, last in _ranges(ports):
        begin = f"{word}_PORT_{first[0]}_{first[1].upper()}"
        lines += [
            f"{begin}_START={first[1]}://{address}:{first[0]}",
            f"{begin}_ADDR={address}",
            f"{begin}_PROTO={first[1]}",
            f"{begin}_PORT_START={first[0]}",
            f"{begin}_END={last[1]}://{address}:{last[0]}",
            f"{begin}_PORT_END={last[0]}",
        ]
    for number, protocol in ports:
        begin = f"{word}_PORT_{number}_{protocol.upper()}"
        lines += [
            f"{begin}={protocol}://{address}:{number}",
            f"{begin}_ADDR={address}",
            f"{begin}_PORT={number}",
            f"{begin}_PROTO={protocol}",
        ]
    lines.append(f"{word}_NAME=/{parent}/{alias}")
    for entry in environment:
        name, is_set, value = entry.partition("=")
        if is_set and name not in _LEFT_OUT:
            lines.append(f"{word}_ENV_{name}={value}")
    return lines


def _port(key: str) -> tuple[int, str]:
    number, _, protocol = key.partition("/")
    return int(number), protocol or "tcp"


def _ranges(ports: Sequence[tuple[int, str]]) -> list[tuple[tuple[int, str], tuple[int, str]]]:
    """First and last of each run of three and more ports."""
    found = []
    first = 0
    while first < len(ports):
        end = first + 1
        while end < len(ports) and ports[end][0] <= ports[first][0] + end - first:
            end += 1
        if end - first > 2:
            found.append((ports[first], ports[end - 1]))
            first = end
        else:
            first += 1
    return found


def hosts_names(alias: str, hostname: str, name: str) -> str:
    """What the linked container is called in the other's /etc/hosts."""
    return " ".join([alias, hostname, *([name] if name != alias else [])])


def with_address(hosts: str, alias: str, address: str) -> str:
    """The content of /etc/hosts once the container called `alias` there has another address."""
    return re.sub(rf"^\S+(?=\t{re.escape(alias)}(\s|$))", address, hosts, flags=re.MULTILINE)


def shown_links(parent: str, links: Mapping[str, str]) -> list[str] | None:
    """HostConfig.Links of inspect; `links` are alias -> the linked container's name."""
    return [f"/{name}:/{parent}/{alias}" for alias, name in links.items()] or None
