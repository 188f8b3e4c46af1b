"""docker builder|container|image|network|volume|system prune: remove what nothing uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.errors import CommandError
from labkernel.commands.filters import filters
from labkernel.commands.flags import Flag, many, switch
from labkernel.commands.http import call
from labkernel.commands.results import Result, Text
from labkernel.commands.units import human_size

if TYPE_CHECKING:
    from docker import DockerClient

_FILTER = many("filter", "", "Only what matches, as KEY=VALUE, such as until=24h", metavar="filter")
_FORCE = switch("force", "f", "Do not ask")


def confirm(warning: str, invocation: Invocation, console: Console) -> bool:
    """Ask on the terminal, unless --force was given. Raises CommandError where no one can answer."""
    if invocation.options["force"]:
        return True
    if console.stdin is None:
        raise CommandError(f"WARNING! {warning}", hint="nothing was removed; add -f to do it")
    console.write(f"WARNING! {warning}\nAre you sure you want to continue? [y/N] ".encode())
    return console.stdin.readline().strip().lower() in {b"y", b"yes"}


def _prune(client: DockerClient, kind: str, wanted: dict[str, list[str]]) -> tuple[list[str], int]:
    """(lines that say what went, bytes that came free)."""
    answer: dict[str, Any] = call(client, "POST", f"/{kind}/prune", params={"filters": wanted}).json()
    space = int(answer.get("SpaceReclaimed") or 0)
    if kind == "images":
        gone = [
            f"{what.lower()}: {name}"
            for entry in answer["ImagesDeleted"] or []
            for what, name in entry.items()
        ]
        return (["Deleted Images:", *gone, ""] if gone else []), space
    if kind == "build":
        gone = answer.get("CachesDeleted") or []
        return (["Deleted build cache objects:", *gone, ""] if gone else []), space
    title = {"containers": "Containers", "networks": "Networks", "volumes": "Volumes"}[kind]
    gone = answer.get(f"{title}Deleted") or []
    return ([f"Deleted {title}:", *gone, ""] if gone else []), space


def _report(lines: list[str], space: int) -> Result:
    return Text("\n".join([*lines, f"Total reclaimed space: {human_size(space)}"]))


def prune_containers(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    if not confirm("This will remove all stopped containers.", invocation, console):
        return Text()
    return _report(*_prune(client, "containers", filters(invocation.options["filter"])))


def prune_builds(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    if not confirm("This will remove all dangling build cache.", invocation, console):
        return Text()
    return _report(*_prune(client, "build", filters(invocation.options["filter"])))


def prune_images(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    everything = invocation.options["all"]
    what = (
        "all images without at least one container associated to them"
        if everything
        else "all dangling images"
    )
    if not confirm(f"This will remove {what}.", invocation, console):
        return Text()
    wanted = {**filters(invocation.options["filter"]), "dangling": ["false" if everything else "true"]}
    return _report(*_prune(client, "images", wanted))


def prune_networks(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    if not confirm(
        "This will remove all custom networks not used by at least one container.", invocation, console
    ):
        return Text()
    lines, _ = _prune(client, "networks", filters(invocation.options["filter"]))
    return Text("\n".join(lines).rstrip("\n") + "\n" if lines else "")


def prune_volumes(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    if not confirm(
        "This will remove anonymous local volumes not used by at least one container.", invocation, console
    ):
        return Text()
    wanted = filters(invocation.options["filter"])
    if invocation.options["all"]:
        wanted["all"] = ["true"]
    return _report(*_prune(client, "volumes", wanted))


def prune_system(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    options = invocation.options
    parts = [
        "all stopped containers",
        "all networks not used by at least one container",
        *(["all anonymous volumes not used by at least one container"] if options["volumes"] else []),
        "all images without at least one container associated to them"
        if options["all"]
        else "all dangling images",
    ]
    warning = "This will remove:\n" + "".join(f"  - {part}\n" for part in parts)
    if not confirm(warning, invocation, console):
        return Text()
    wanted = filters(options["filter"])
    dangling = {"dangling": ["false" if options["all"] else "true"]}
    lines, space = _prune(client, "containers", wanted)
    for kind, extra in (
        ("networks", {}),
        *((("volumes", {}),) if options["volumes"] else ()),
        ("images", dangling),
    ):
        more, freed = _prune(client, kind, {**wanted, **extra})
        lines, space = lines + more, space + freed
    return _report(lines, space)


def _flags(*more: Flag) -> tuple[Flag, ...]:
    return (_FORCE, _FILTER, *more)


BUILDS = Command("prune", "[OPTIONS]", "Remove what builds cached", prune_builds, _flags(), (0, 0))
CONTAINERS = Command(
    "prune", "[OPTIONS]", "Remove all stopped containers", prune_containers, _flags(), (0, 0)
)
IMAGES = Command(
    "prune",
    "[OPTIONS]",
    "Remove images that nothing uses",
    prune_images,
    _flags(switch("all", "a", "Named images without a container as well")),
    (0, 0),
)
NETWORKS = Command(
    "prune", "[OPTIONS]", "Remove networks that nothing uses", prune_networks, _flags(), (0, 0)
)
VOLUMES = Command(
    "prune",
    "[OPTIONS]",
    "Remove volumes that nothing uses",
    prune_volumes,
    _flags(switch("all", "a", "Named volumes as well")),
    (0, 0),
)
SYSTEM = Command(
    "prune",
    "[OPTIONS]",
    "Remove stopped containers and unused networks and images",
    prune_system,
    _flags(
        switch("all", "a", "Named images without a container as well"),
        switch("volumes", "", "Unnamed volumes as well"),
    ),
    (0, 0),
)
