"""docker volume: ls, create, rm."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.container_config import labels
from labkernel.commands.each import for_each
from labkernel.commands.filters import FILTER, filters
from labkernel.commands.flags import many, switch, text
from labkernel.commands.http import call
from labkernel.commands.results import Listing, Result, Text
from labkernel.commands.units import human_size

if TYPE_CHECKING:
    from docker import DockerClient

HEADINGS = {
    "Driver": "DRIVER",
    "Name": "VOLUME NAME",
    "Scope": "SCOPE",
    "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS",
    "Links": "LINKS",
    "Size": "SIZE",
}


def ls(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    options = invocation.options
    answer = call(client, "GET", "/volumes", params={"filters": filters(options["filter"])}).json()
    found = sorted(answer["Volumes"] or [], key=lambda volume: str(volume["Name"]))
    rows = [row(volume) for volume in found]
    return Listing(
        rows, found, HEADINGS, ("Driver", "Name"), options["format"], "Name" if options["quiet"] else None
    )


def row(volume: dict[str, object]) -> dict[str, str]:
    """The fields of one volume, named as --format names them."""
    usage = volume.get("UsageData")
    links, size = (usage.get("RefCount"), usage.get("Size")) if isinstance(usage, dict) else ("N/A", None)
    found = volume.get("Labels")
    return {
        "Driver": str(volume["Driver"]),
        "Name": str(volume["Name"]),
        "Scope": str(volume["Scope"]),
        "Mountpoint": str(volume["Mountpoint"]),
        "Labels": ",".join(f"{key}={value}" for key, value in found.items())
        if isinstance(found, dict)
        else "",
        "Links": str(links),
        "Size": human_size(size) if isinstance(size, int) and size >= 0 else "N/A",
    }


def create(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    options = invocation.options
    body = {
        "Name": invocation.arguments[0] if invocation.arguments else "",
        "Driver": options["driver"],
        "DriverOpts": labels(options["opt"]),
        "Labels": labels(options["label"]),
    }
    return Text(str(call(client, "POST", "/volumes/create", body=body).json()["Name"]))


def rm(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    force = {"force": "1"} if invocation.options["force"] else {}

    def one(name: str) -> None:
        call(client, "DELETE", f"/volumes/{quote(name)}", params=force)

    return for_each(client, invocation, console, one)


LS = Command(
    "ls",
    "[OPTIONS]",
    "List volumes",
    ls,
    (
        FILTER,
        text("format", "", "Rows by a Go template, such as '{{.Name}}'; 'table ...' adds headings; 'json'"),
        switch("quiet", "q", "Show names only"),
    ),
    (0, 0),
)
CREATE = Command(
    "create",
    "[OPTIONS] [VOLUME]",
    "Make a volume",
    create,
    (
        text("driver", "d", "Driver of the volume", default="local"),
        many("label", "", "A label, as KEY=VALUE"),
        many("opt", "o", "Option of the driver, as KEY=VALUE", metavar="map"),
    ),
    (0, 1),
)
RM = Command(
    "rm",
    "[OPTIONS] VOLUME [VOLUME...]",
    "Remove volumes",
    rm,
    (switch("force", "f", "No error for a volume that is not there"),),
    (1, None),
)
