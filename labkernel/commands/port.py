"""docker port: which ports of the host lead to a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.errors import CommandError
from labkernel.commands.ports import host_port
from labkernel.commands.results import Result, Text

if TYPE_CHECKING:
    from docker import DockerClient


def port(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    name, *wanted = invocation.arguments
    found = client.api.inspect_container(name)
    bindings = found["NetworkSettings"]["Ports"] or {}
    if wanted:
        number, _, protocol = wanted[0].partition("/")
        key = f"{number}/{protocol or 'tcp'}"
        if not bindings.get(key):
            published = [port for port, targets in bindings.items() if targets]
            raise CommandError(
                f"Error: No public port '{wanted[0]}' published for {name}",
                hint=f"published are {', '.join(published)}"
                if published
                else "nothing is: run it with -p 8080:80",
            )
        shown = [host_port(target["HostIp"], target["HostPort"]) for target in bindings[key]]
    else:
        shown = [
            f"{key} -> {host_port(target['HostIp'], target['HostPort'])}"
            for key in sorted(bindings, key=lambda key: (int(key.partition("/")[0]), key))
            for target in bindings[key] or []
        ]
    return Text("\n".join(shown), data=bindings)


PORT = Command(
    "port", "CONTAINER [PRIVATE_PORT[/PROTO]]", "Show which ports lead to a container", port, (), (1, 2)
)
