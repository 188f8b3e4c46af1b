"""docker network: ls, create, rm, connect, disconnect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.container_config import labels
from labkernel.commands.each import for_each
from labkernel.commands.errors import CommandError
from labkernel.commands.filters import FILTER, filters
from labkernel.commands.flags import many, switch, text
from labkernel.commands.http import call
from labkernel.commands.results import Listing, Result, Text
from labkernel.commands.units import parse_time

if TYPE_CHECKING:
    from docker import DockerClient

HEADINGS = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "CreatedAt": "CREATED AT",
    "Internal": "INTERNAL",
    "IPv6": "IPV6",
    "Labels": "LABELS",
}


def ls(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    options = invocation.options
    found: Any = client.api.networks(filters=filters(options["filter"]))
    found = sorted(found, key=lambda network: network["Name"])
    rows = [
        {
            "ID": network["Id"] if options["no-trunc"] else network["Id"][:12],
            "Name": network["Name"],
            "Driver": network["Driver"],
            "Scope": network["Scope"],
            "CreatedAt": parse_time(network["Created"]).strftime("%Y-%m-%d %H:%M:%S %z %Z"),
            "Internal": str(network["Internal"]).lower(),
            "IPv6": str(network["EnableIPv6"]).lower(),
            "Labels": ",".join(f"{key}={value}" for key, value in (network["Labels"] or {}).items()),
        }
        for network in found
    ]
    return Listing(
        rows,
        found,
        HEADINGS,
        ("ID", "Name", "Driver", "Scope"),
        options["format"],
        "ID" if options["quiet"] else None,
    )


def create(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    options = invocation.options
    subnets = options["subnet"]
    if len(options["gateway"]) > len(subnets) or len(options["ip-range"]) > len(subnets):
        raise CommandError("every gateway and ip-range must have a corresponding subnet")
    pools = [
        {
            "Subnet": subnet,
            **({"Gateway": options["gateway"][index]} if index < len(options["gateway"]) else {}),
            **({"IPRange": options["ip-range"][index]} if index < len(options["ip-range"]) else {}),
        }
        for index, subnet in enumerate(subnets)
    ]
    body = {
        "Name": invocation.arguments[0],
        "CheckDuplicate": True,
        "Driver": options["driver"],
        "Internal": options["internal"],
        "Attachable": options["attachable"],
        "EnableIPv6": options["ipv6"],
        "IPAM": {"Driver": "default", "Config": pools, "Options": {}},
        "Options": labels(options["opt"]),
        "Labels": labels(options["label"]),
    }
    return Text(str(call(client, "POST", "/networks/create", body=body).json()["Id"]))


def rm(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    from docker.errors import NotFound

    def one(name: str) -> None:
        try:
            call(client, "DELETE", f"/networks/{quote(name)}")
        except NotFound:
            if not invocation.options["force"]:
                raise

    return for_each(client, invocation, console, one)


def connect(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    network, container = invocation.arguments
    options = invocation.options
    addresses = {
        key: options[flag] for key, flag in (("IPv4Address", "ip"), ("IPv6Address", "ip6")) if options[flag]
    }
    endpoint = {
        "Aliases": options["alias"] or None,
        "Links": options["link"] or None,
        "IPAMConfig": addresses or None,
    }
    body = {"Container": container, "EndpointConfig": endpoint}
    call(client, "POST", f"/networks/{quote(network)}/connect", body=body)
    return Text()


def disconnect(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    network, container = invocation.arguments
    body = {"Container": container, "Force": invocation.options["force"]}
    call(client, "POST", f"/networks/{quote(network)}/disconnect", body=body)
    return Text()


LS = Command(
    "ls",
    "[OPTIONS]",
    "List networks",
    ls,
    (
        FILTER,
        text("format", "", "Rows by a Go template, such as '{{.Name}}'; 'table ...' adds headings; 'json'"),
        switch("no-trunc", "", "Show ids in full"),
        switch("quiet", "q", "Show ids only"),
    ),
    (0, 0),
)
CREATE = Command(
    "create",
    "[OPTIONS] NETWORK",
    "Make a network: its containers find each other by name, and nobody else's",
    create,
    (
        text("driver", "d", "Kind of network", default="bridge"),
        many("subnet", "", "Addresses of the network, as 172.30.0.0/16", metavar="strings"),
        many("gateway", "", "Address of the gateway of a subnet", metavar="strings"),
        many("ip-range", "", "Addresses of a subnet that containers get", metavar="strings"),
        switch("internal", "", "No way out of the network"),
        switch("attachable", "", "Accepted for the docker client's sake"),
        switch("ipv6", "", "Give IPv6 addresses too"),
        many("opt", "o", "Option of the driver, as KEY=VALUE", metavar="map"),
        many("label", "", "A label, as KEY=VALUE"),
    ),
    (1, 1),
)
RM = Command(
    "rm",
    "[OPTIONS] NETWORK [NETWORK...]",
    "Remove networks",
    rm,
    (switch("force", "f", "No error for a network that is not there"),),
    (1, None),
)
CONNECT = Command(
    "connect",
    "[OPTIONS] NETWORK CONTAINER",
    "Join a container to a network",
    connect,
    (
        many("alias", "", "A further name of the container on this network", metavar="strings"),
        text("ip", "", "IPv4 address"),
        text("ip6", "", "IPv6 address"),
        many("link", "", "Link to another container, as NAME[:ALIAS]"),
    ),
    (2, 2),
)
DISCONNECT = Command(
    "disconnect",
    "[OPTIONS] NETWORK CONTAINER",
    "Part a container from a network",
    disconnect,
    (switch("force", "f", "Also when the container does not exist any more"),),
    (2, 2),
)
