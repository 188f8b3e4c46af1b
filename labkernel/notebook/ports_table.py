"""The published ports: where on this machine each container can be reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkernel.commands import Result
from labkernel.commands.results import align
from labkernel.notebook.style import BOX, FAINT, LINE, MONOSPACE, MUTED, OWN, div, escape, span

if TYPE_CHECKING:
    from docker import DockerClient


@dataclass(frozen=True)
class Published:
    """A port of this machine that leads into a container."""

    address: str
    """The address it listens on; "0.0.0.0" is all of them."""
    port: int
    protocol: str
    container: str
    container_port: int
    image: str

    @property
    def url(self) -> str | None:
        """What a browser on this machine opens; None for what is no TCP port."""
        if self.protocol != "tcp":
            return None
        anywhere = self.address in {"0.0.0.0", "::", "127.0.0.1", "::1", ""}
        host = "localhost" if anywhere else f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{host}:{self.port}"


@dataclass(repr=False)
class PortsTable(Result):
    """What `%ports` shows. `ports` is ordered by the machine's port."""

    ports: Sequence[Published]

    @property
    def text(self) -> str:
        if not self.ports:
            return "no container publishes a port"
        return align(
            [["HOST", "", "CONTAINER", "IMAGE"]]
            + [
                [
                    port.url or f"{port.address}:{port.port}/{port.protocol}",
                    "->",
                    f"{port.container}:{port.container_port}/{port.protocol}",
                    port.image,
                ]
                for port in self.ports
            ]
        )

    def _repr_html_(self) -> str:
        if not self.ports:
            return div(f"{BOX};{MUTED}", "no container publishes a port; <code>-p 8080:80</code> does")
        return div(f"{BOX};margin:6px 0", *[_row(port) for port in self.ports])


def _row(port: Published) -> str:
    machine = escape(f"{port.address}:{port.port}")
    if port.url:
        link = "color:var(--jp-content-link-color,#1976d2);text-decoration:underline"
        machine = (
            f'<a href="{escape(port.url)}" target="_blank" rel="noopener" style="{link}">'
            f"{escape(port.url)}</a>"
        )
    box = f"padding:4px 10px;border:{LINE};border-radius:5px;{MONOSPACE}"
    return div(
        "display:flex;align-items:center;gap:8px;margin:4px 0",
        div(f"flex:0 0 190px;background:{FAINT};{box}", machine),
        span("font-size:18px", "→"),
        div(
            f"background:{OWN};{box}",
            f"<b>{escape(port.container)}</b>:{port.container_port}/{escape(port.protocol)}",
        ),
        span(f"font-size:12px;{MUTED}", escape(port.image)),
    )


def published(containers: Sequence[Mapping[str, Any]]) -> list[Published]:
    """The published ports among the answers of GET /containers/json; IPv6 twins are left out."""
    found = {
        (port["PublicPort"], port["Type"], container["Id"], port["PrivatePort"]): Published(
            address=port.get("IP") or "",
            port=port["PublicPort"],
            protocol=port["Type"],
            container=container["Names"][0].lstrip("/"),
            container_port=port["PrivatePort"],
            image=container["Image"],
        )
        for container in containers
        # An IPv6 twin comes before the IPv4 entry here, which then takes its place.
        for port in sorted(container.get("Ports") or [], key=lambda port: ":" not in (port.get("IP") or ""))
        if port.get("PublicPort")
    }
    return sorted(found.values(), key=lambda port: (port.port, port.protocol, port.container))


def ports_table(client: DockerClient, names: Sequence[str] = ()) -> PortsTable:
    """The ports of all running containers, or of those named (by name or the start of an id)."""
    from labkernel.commands import CommandError

    containers = client.api.containers()
    for name in names:
        if not any(_is_named(container, name) for container in containers):
            raise CommandError(
                f"No such container: {name}",
                where=f"%ports {name}",
                hint="%container ps lists the running containers",
            )
    chosen = [c for c in containers if not names or any(_is_named(c, name) for name in names)]
    return PortsTable(published(chosen))


def _is_named(container: Mapping[str, Any], name: str) -> bool:
    return f"/{name}" in container["Names"] or container["Id"].startswith(name)
