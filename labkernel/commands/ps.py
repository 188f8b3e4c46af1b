"""docker ps: the containers of the engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.filters import FILTER, filters
from labkernel.commands.flags import integer, switch, text
from labkernel.commands.ports import ports_column
from labkernel.commands.results import Listing, Result
from labkernel.commands.units import ago, human_size

if TYPE_CHECKING:
    from docker import DockerClient

HEADINGS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "Ports": "PORTS",
    "Names": "NAMES",
    "Size": "SIZE",
    "CreatedAt": "CREATED AT",
    "State": "STATE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
}
COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")


def ps(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    options = invocation.options
    last = options["last"]
    if options["latest"] and last <= 0:
        last = 1
    containers = client.api.containers(
        all=options["all"] or last > 0,
        limit=last if last > 0 else -1,
        size=options["size"] or "{{.Size}}" in (options["format"] or ""),
        filters=filters(options["filter"]),
    )
    rows = [row(container, truncate=not options["no-trunc"]) for container in containers]
    columns = (*COLUMNS, "Size") if options["size"] else COLUMNS
    return Listing(rows, containers, HEADINGS, columns, options["format"], "ID" if options["quiet"] else None)


def row(container: Mapping[str, Any], *, truncate: bool) -> dict[str, str]:
    """The fields of one entry of GET /containers/json, named as --format names them."""
    command = container["Command"]
    names = [name.lstrip("/") for name in container["Names"] or []]
    if truncate:
        command = shorten(command, 20)
        names = [name for name in names if "/" not in name]  # a/b is a's legacy link name for b
    mounts = [mount.get("Name") or mount.get("Source", "") for mount in container.get("Mounts") or []]
    return {
        "ID": container["Id"][:12] if truncate else container["Id"],
        "Names": ",".join(names),
        "Image": _image(container, truncate),
        "Command": json.dumps(command, ensure_ascii=False),
        "CreatedAt": local_time(container["Created"]),
        "RunningFor": ago(container["Created"]),
        "Ports": ports_column(container.get("Ports") or []),
        "State": container["State"],
        "Status": container["Status"],
        "Size": size(container),
        "Labels": ",".join(f"{key}={value}" for key, value in (container.get("Labels") or {}).items()),
        "Mounts": ",".join(shorten(mount, 15) if truncate else mount for mount in mounts),
        "LocalVolumes": str(sum(m.get("Driver") == "local" for m in container.get("Mounts") or [])),
        "Networks": ",".join(sorted((container.get("NetworkSettings") or {}).get("Networks") or {})),
    }


def _image(container: Mapping[str, Any], truncate: bool) -> str:
    image: str = container["Image"] or "<no image>"
    if not truncate:
        return image
    short_id = container["ImageID"].removeprefix("sha256:")[:12]
    if image.removeprefix("sha256:")[:12] == short_id:
        return str(short_id)
    return image.partition("@")[0]


def size(container: Mapping[str, Any]) -> str:
    """What the container wrote, and with its image: "0B (virtual 1.2MB)"."""
    own, whole = container.get("SizeRw", 0), container.get("SizeRootFs", 0)
    shown = human_size(own, precision=3)
    return f"{shown} (virtual {human_size(whole, precision=3)})" if whole > 0 else shown


def shorten(text: str, length: int) -> str:
    """At most `length` characters, the last one an ellipsis when something was cut."""
    return text if len(text) <= length else text[: length - 1] + "…"


def local_time(seconds: float) -> str:
    """Seconds since the epoch as the client writes times: 2026-11-24 03:18:31 +0000 UTC."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S %z %Z")


PS = Command(
    "ps",
    "[OPTIONS]",
    "List containers",
    ps,
    (
        switch("all", "a", "Show stopped containers as well"),
        FILTER,
        text("format", "", "Rows by a Go template, such as '{{.Names}}'; 'table ...' adds headings; 'json'"),
        integer("last", "n", "Show the newest n containers, stopped ones too", default=-1),
        switch("latest", "l", "Show the newest container, running or not"),
        switch("no-trunc", "", "Show ids and commands in full"),
        switch("quiet", "q", "Show ids only"),
        switch("size", "s", "Show how much each container wrote"),
    ),
    (0, 0),
)
