"""The published ports: where each container can be reached."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from labkernel.commands import CommandError
from labkernel.commands.results import align
from labkernel.notebook.style import (
    BOX,
    FAINT,
    LINE,
    MONOSPACE,
    MUTED,
    OWN,
    SHARED,
    WRITABLE,
    div,
    escape,
    span,
)
from labkernel.notebook.views.picture import Picture

if TYPE_CHECKING:
    from docker import DockerClient

REMOVED = "removed"
_COLOURS = {"running": SHARED, "paused": WRITABLE, "restarting": WRITABLE}


@dataclass(frozen=True)
class Published:
    """A port of the engine's machine that leads into a container."""

    address: str
    """The address it listens on; "0.0.0.0" is all of them."""
    port: int
    protocol: str
    container: str
    container_port: int
    image: str
    state: str = "running"
    """The container's: running, paused, restarting."""
    machine: str | None = None
    """The engine's machine when that is another one than ours."""

    @property
    def host(self) -> str:
        """Where it is, as text."""
        return self.url or f"{self.machine or self.address}:{self.port}/{self.protocol}"

    @property
    def url(self) -> str | None:
        """What a browser on this machine opens; None for what is no TCP port, or out of its reach."""
        if self.protocol != "tcp":
            return None
        host = self.address
        if host in {"0.0.0.0", "::", ""}:
            host = self.machine or "localhost"
        elif _is_loopback(host):
            if self.machine:
                return None
            host = "localhost"
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


@dataclass(frozen=True)
class Unpublished:
    """A container that was asked for by name and has no published port now."""

    container: str
    image: str
    state: str


@dataclass(repr=False)
class PortsTable(Picture):
    """What `%ports` shows. `ports` is ordered by the machine's port."""

    kind: ClassVar[str] = "ports"

    ports: Sequence[Published]
    unpublished: Sequence[Unpublished] = ()

    @property
    def text(self) -> str:
        if not self.ports and not self.unpublished:
            return "no container publishes a port"
        rows = [["HOST", "", "CONTAINER", "STATE", "IMAGE"]]
        rows += [
            [
                port.host,
                "->",
                f"{port.container}:{port.container_port}/{port.protocol}",
                port.state,
                port.image,
            ]
            for port in self.ports
        ]
        rows += [["-", "", other.container, other.state, other.image] for other in self.unpublished]
        return align(rows)

    def _repr_html_(self) -> str:
        if not self.ports and not self.unpublished:
            return div(f"{BOX};{MUTED}", "no container publishes a port; <code>-p 8080:80</code> does")
        rows = [_row(port) for port in self.ports] + [_row_without_port(other) for other in self.unpublished]
        return div(f"{BOX};margin:6px 0", *rows)

    @property
    def data(self) -> dict[str, Any]:
        return {
            "ports": [
                {**dataclasses.asdict(port), "host": port.host, "url": port.url} for port in self.ports
            ],
            "unpublished": [dataclasses.asdict(other) for other in self.unpublished],
        }


def _row(port: Published) -> str:
    machine = escape(port.host)
    if port.url:
        link = "color:var(--jp-content-link-color,#1976d2);text-decoration:underline"
        machine = (
            f'<a href="{escape(port.url)}" target="_blank" rel="noopener" style="{link}">'
            f"{escape(port.url)}</a>"
        )
    inside = f"<b>{escape(port.container)}</b>:{port.container_port}/{escape(port.protocol)}"
    return _boxes(machine, "→", inside, port.state, port.image)


def _row_without_port(other: Unpublished) -> str:
    return _boxes("no port", "", f"<b>{escape(other.container)}</b>", other.state, other.image)


def _boxes(machine: str, arrow: str, inside: str, state: str, image: str) -> str:
    """One row; the first three are HTML."""
    box = f"padding:4px 10px;border:{LINE};border-radius:5px;{MONOSPACE}"
    dot = "display:inline-block;width:9px;height:9px;border-radius:50%;margin-right:5px"
    return div(
        "display:flex;align-items:center;gap:8px;margin:4px 0",
        div(f"flex:0 0 190px;background:{FAINT};{box}", machine),
        span("flex:0 0 18px;font-size:18px", arrow),
        div(f"background:{OWN};{box}", inside),
        span("font-size:12px", span(f"{dot};background:{_COLOURS.get(state, FAINT)}"), escape(state)),
        span(f"font-size:12px;{MUTED}", escape(image)),
    )


def published(containers: Sequence[Mapping[str, Any]], machine: str | None = None) -> list[Published]:
    """The published ports among the answers of GET /containers/json; IPv6 twins are left out."""
    found = {
        (port["PublicPort"], port["Type"], container["Id"], port["PrivatePort"]): Published(
            address=port.get("IP") or "",
            port=port["PublicPort"],
            protocol=port["Type"],
            container=_name(container),
            container_port=port["PrivatePort"],
            image=container["Image"],
            state=container["State"],
            machine=machine,
        )
        for container in containers
        # An IPv6 twin comes before the IPv4 entry here, which then takes its place.
        for port in sorted(container.get("Ports") or [], key=lambda port: ":" not in (port.get("IP") or ""))
        if port.get("PublicPort")
    }
    return sorted(found.values(), key=lambda port: (port.port, port.protocol, port.container))


def machine_of(host: str | None) -> str | None:
    """The machine that a DOCKER_HOST names; None for this one."""
    name = urlsplit(host or "").hostname if (host or "").startswith(("tcp:", "ssh:", "http")) else None
    return None if name is None or name == "localhost" or _is_loopback(name) else name


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def ports_table(client: DockerClient, names: Sequence[str] = (), *, host: str | None = None) -> PortsTable:
    """The ports of all containers, or of those named (by name or the start of an id) and what state they are
    in. A name that no container has is one that was removed. `host` is the client's DOCKER_HOST.
    """
    containers = client.api.containers(all=True)
    chosen = [c for c in containers if not names or any(_is_named(c, name) for name in names)]
    ports = published(chosen, machine_of(host))
    if not names:
        return PortsTable(ports)
    with_port = {port.container for port in ports}
    missing = [name for name in names if not any(_is_named(c, name) for c in chosen)]
    return PortsTable(
        ports,
        [Unpublished(_name(c), c["Image"], c["State"]) for c in chosen if _name(c) not in with_port]
        + [Unpublished(name, "", REMOVED) for name in missing],
    )


def check_names(table: PortsTable) -> None:
    """Raises CommandError if there is no container of a name that was asked for."""
    for other in table.unpublished:
        if other.state == REMOVED:
            raise CommandError(
                f"No such container: {other.container}",
                where=f"%ports {other.container}",
                hint="%container ps -a lists the containers",
            )


def _name(container: Mapping[str, Any]) -> str:
    return str(container["Names"][0].lstrip("/"))


def _is_named(container: Mapping[str, Any], name: str) -> bool:
    return f"/{name}" in container["Names"] or container["Id"].startswith(name)
