"""docker top and docker diff: the processes of a container, and what they changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.results import Result, Text, align

if TYPE_CHECKING:
    from docker import DockerClient

CHANGES = {0: "C", 1: "A", 2: "D"}
"""Changed, added, deleted: the API's numbers and the client's letters."""


def top(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    name, *ps_arguments = invocation.arguments
    found = client.api.top(name, " ".join(ps_arguments) or None)
    rows = [found["Titles"], *(found["Processes"] or [])]
    return Text(align(rows, least=20), data=found)


def diff(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    changes = client.api.diff(invocation.arguments[0]) or []
    return Text("\n".join(f"{CHANGES[change['Kind']]} {change['Path']}" for change in changes), data=changes)


TOP = Command(
    "top",
    "CONTAINER [ps OPTIONS]",
    "Show the processes of a container",
    top,
    (),
    (1, None),
    interspersed=False,
)
DIFF = Command(
    "diff",
    "CONTAINER",
    "Show the files that a container added (A), changed (C), deleted (D)",
    diff,
    (),
    (1, 1),
)
