"""Containers as `docker inspect` and `docker ps` show them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from labkernel.engine.containers import links
from labkernel.engine.containers.container import Container
from labkernel.engine.errors import InvalidParameter, NotFound
from labkernel.engine.filters import check_keys, labels_pass
from labkernel.engine.linux import trees
from labkernel.engine.network.networks import Networks
from labkernel.engine.network.ports import parse_port
from labkernel.engine.runtime.spec import MASKED_PATHS, READONLY_PATHS

_FILTERS = frozenset(
    (
        "ancestor before exited expose health id is-task isolation label name network publish since "
        "status volume"
    ).split()
)
_STATUSES = ("created", "dead", "exited", "paused", "removing", "restarting", "running")

_HEALTHS = ("none", "starting", "healthy", "unhealthy")


def inspect(
    container: Container,
    networks: Networks,
    lower: Sequence[Path],
    image_size: int | None = None,
    linked: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """`GET /containers/{id}/json`; `linked` are alias -> name of linked containers; sizes only
    when asked for, since they mean walking the files.
    """
    command = container.command
    directory = container.directory
    # Made by the first start: until then Docker shows no path either.
    files = {name: directory / name for name in ("resolv.conf", "hostname", "hosts")}
    paths = {name: str(path) if path.exists() else "" for name, path in files.items()}
    kept = container.host_config["LogConfig"]["Type"] == "json-file"
    described: dict[str, Any] = {
        "Id": container.id,
        "Created": container.created,
        "Path": command[0] if command else "",
        "Args": command[1:],
        "State": container.state.describe(),
        "Image": container.image,
        "ResolvConfPath": paths["resolv.conf"],
        "HostnamePath": paths["hostname"],
        "HostsPath": paths["hosts"],
        "LogPath": str(container.log.path) if kept and paths["hosts"] else "",
        "Name": f"/{container.name}",
        "RestartCount": container.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": sorted(container.execs) or None,
        "HostConfig": host_config(container) | {"Links": links.shown_links(container.name, linked or {})},
        "GraphDriver": {
            "Data": {
                "LowerDir": ":".join(map(str, lower)),
                "MergedDir": str(directory / "merged"),
                "UpperDir": str(container.upper),
                "WorkDir": str(container.work),
            },
            "Name": "overlay2",
        },
        "Mounts": [mount.describe() for mount in container.mounts if mount.listed],
        "Config": container.config,
        "NetworkSettings": networks.network_settings(container.id, container.networks),
    }
    if image_size is not None:
        own = own_size(container)
        described |= {"SizeRw": own, "SizeRootFs": own + image_size}
    return described


def host_config(container: Container) -> dict[str, Any]:
    """HostConfig with the paths that are hidden or read-only in every unprivileged container."""
    privileged = container.host_config["Privileged"]
    shown = dict(container.host_config)
    for key, paths in (("MaskedPaths", MASKED_PATHS), ("ReadonlyPaths", READONLY_PATHS)):
        shown[key] = None if privileged else list(paths)
    return shown


def own_size(container: Container) -> int:
    """Bytes of the files that the container wrote itself. Raises NotFound when it has been removed."""
    try:
        return trees.size(container.upper)
    except FileNotFoundError:
        raise NotFound(f"No such container: {container.id}") from None


def summary(
    container: Container,
    networks: Networks,
    image_size: int | None = None,
    further_names: Sequence[str] = (),
) -> dict[str, Any]:
    """One entry of `GET /containers/json`; `further_names` are those that links gave it."""
    settings = networks.network_settings(container.id, container.networks)
    shown: dict[str, Any] = {
        "Id": container.id,
        "Names": [f"/{name}" for name in (container.name, *further_names)],
        "Image": container.config["Image"],
        "ImageID": container.image,
        "Command": shell_words(container.command),
        "Created": int(datetime.fromisoformat(container.created).timestamp()),
        "Ports": _ports(settings["Ports"]) if container.state.running else [],
    }
    if image_size is not None:
        own = own_size(container)
        if own:
            shown["SizeRw"] = own
        shown["SizeRootFs"] = own + image_size
    return shown | {
        "Labels": container.config["Labels"] or {},
        "State": container.state.status,
        "Status": container.state.sentence(),
        "HostConfig": {"NetworkMode": container.host_config["NetworkMode"]},
        "NetworkSettings": {"Networks": settings["Networks"]},
        "Mounts": [mount.describe() for mount in container.mounts if mount.listed],
    }


def shell_words(command: Sequence[str]) -> str:
    """The command on one line; an argument with white space is quoted, so that it can be read."""
    return " ".join(f"'{word}'" if " " in word else word for word in command)


def _ports(ports: Mapping[str, list[dict[str, str]] | None]) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    for key, hosts in ports.items():
        number, protocol = parse_port(key)
        if not hosts:
            shown.append({"PrivatePort": number, "Type": protocol})
        shown += [
            {
                "IP": host["HostIp"],
                "PrivatePort": number,
                "PublicPort": int(host["HostPort"]),
                "Type": protocol,
            }
            for host in hosts or []
        ]
    return shown


def filter_ports(key: str, text: str) -> list[tuple[int, str]]:
    """`80`, `80/udp` or `80-90/tcp` of the filter `key` -> (number, protocol) each.

    Raises:
        InvalidParameter: none of these.
    """
    if ":" in text:
        raise InvalidParameter(f"filter for '{key}' should not contain ':': {text}")
    numbers, _, protocol = text.partition("/")
    first, dash, last = numbers.partition("-")
    if not text:
        raise InvalidParameter(f"error while looking up for {key} : Empty string specified for ports.")

    def number(part: str) -> int:
        if not re.fullmatch(r"[0-9]+", part):
            raise wrong(f'strconv.ParseUint: parsing "{part}": invalid syntax')
        if len(part) > 20 or int(part) > 65535:
            raise wrong(f'strconv.ParseUint: parsing "{part}": value out of range')
        return int(part)

    def wrong(why: str) -> InvalidParameter:
        return InvalidParameter(f"error while looking up for {key} {text}: {why}")

    start = number(first)
    end = number(last) if dash else start
    if end < start:
        raise wrong(f"Invalid range specified for the Port: {numbers}")
    return [(port, protocol or "tcp") for port in range(start, end + 1)]


def check_filters(filters: Mapping[str, Sequence[str]]) -> None:
    """Raises InvalidParameter for a filter or a status that there is none of."""
    check_keys(filters, _FILTERS)
    for status in filters.get("status", ()):
        if status not in _STATUSES:
            raise InvalidParameter(f"Invalid filter 'status={status}'", hint=f"one of {', '.join(_STATUSES)}")
    for health in filters.get("health", ()):
        if health not in _HEALTHS:
            raise InvalidParameter(
                f"Unrecognised filter value for health: {health}", hint=f"one of {', '.join(_HEALTHS)}"
            )
    for key in ("publish", "expose"):
        for text in filters.get(key, ()):
            filter_ports(key, text)
    for code in filters.get("exited", ()):
        if not re.fullmatch(r"-?\d+", code):
            raise InvalidParameter(f'strconv.Atoi: parsing "{code}": invalid syntax')
    if not {"true", "false"}.issuperset(tasks := filters.get("is-task", ())):
        raise InvalidParameter(f"Invalid filter 'is-task=[{' '.join(tasks)}]'")


def passes(
    container: Container, filters: Mapping[str, Sequence[str]], ancestors: frozenset[str], networks: Networks
) -> bool:
    """Whether a container passes the filters of `docker ps`; `ancestors` are the image ids that `ancestor`
    means.
    """

    def any_of(key: str, test: Callable[[str], bool]) -> bool:
        return key not in filters or any(test(value) for value in filters[key])

    health = container.state.health.status if container.state.health else "none"
    settings: dict[str, Any] = {}
    ports: list[dict[str, Any]] = []
    if filters.keys() & {"network", "publish", "expose"}:
        settings = networks.network_settings(container.id, container.networks)
        ports = _ports(settings["Ports"]) if container.state.running else []

    def on_network(name: str) -> bool:
        return any(
            name == network or described["NetworkID"].startswith(name)
            for network, described in settings["Networks"].items()
        )

    def has_port(key: str, number: str) -> bool:
        wanted = {port for text in filters.get(key, ()) for port in filter_ports(key, text)}
        return any((port.get(number, 0), port["Type"]) in wanted for port in ports)

    return (
        any_of("id", container.id.startswith)
        and any_of("name", lambda text: _name_matches(text, container.name))
        and any_of("status", container.state.status.__eq__)
        and any_of(
            "exited",
            lambda code: container.state.status == "exited" and container.state.exit_code == int(code),
        )
        and labels_pass(filters, container.config["Labels"])
        and ("ancestor" not in filters or container.image in ancestors)
        and any_of(
            "volume",
            lambda text: any(
                text in (mount.name, mount.source, mount.destination)
                for mount in container.mounts
                if mount.listed
            ),
        )
        and "true" not in filters.get("is-task", ())  # there is no swarm whose task it could be
        and any_of("network", on_network)
        and (
            not filters.keys() & {"publish", "expose"}
            or has_port("publish", "PublicPort")
            or has_port("expose", "PrivatePort")
        )
        and any_of("health", health.__eq__)
    )


def _name_matches(pattern: str, name: str) -> bool:
    """A regular expression, as for Docker; what is none is looked for as it stands."""
    try:
        return re.search(pattern, f"/{name}") is not None or re.search(pattern, name) is not None
    except re.error:
        return pattern in name
