"""docker inspect: everything the engine knows of containers, images, networks and volumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.errors import CommandError, container_names, explain, local_names, nearest
from labkernel.commands.flags import switch, text
from labkernel.commands.http import call
from labkernel.commands.results import Document, Result, Text
from labkernel.commands.template import FUNCTIONS, Template, TemplateError, structured

if TYPE_CHECKING:
    from docker import DockerClient

_Finder = Callable[["DockerClient", str, bool], Any]


def _container(client: DockerClient, name: str, size: bool) -> Any:
    return call(client, "GET", f"/containers/{name}/json", params={"size": 1} if size else {}).json()


FINDERS: dict[str, _Finder] = {
    "container": _container,
    "image": lambda client, name, size: client.api.inspect_image(name),
    "network": lambda client, name, size: client.api.inspect_network(name),
    "volume": lambda client, name, size: client.api.inspect_volume(name),
}


def inspect(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    kind = invocation.options["type"]
    if kind and kind not in FINDERS:
        raise CommandError(
            f'"{kind}" is not a valid value for --type', hint=f"it is one of {', '.join(FINDERS)}"
        )
    return inspect_names(client, invocation, console, [kind] if kind else list(FINDERS))


def inspect_names(
    client: DockerClient, invocation: Invocation, console: Console, kinds: Sequence[str]
) -> Result:
    """What is found is shown, then what is not is an error, as the docker client does it."""
    found: list[Any] = []
    failures: list[CommandError] = []
    for name in invocation.arguments:
        try:
            found.append(_find(client, name, kinds, bool(invocation.options.get("size"))))
        except Exception as error:
            failures.append(explain(error, invocation.line, client))
    template = invocation.options["format"]
    shown = _formatted(template, found) if template else Document(found)
    if failures:
        if shown.text:
            console.write(f"{shown.text}\n".encode())
        raise CommandError("\n".join(failure.what for failure in failures), hint=failures[0].hint)
    return shown


def _find(client: DockerClient, name: str, kinds: Sequence[str], size: bool) -> Any:
    from docker.errors import NotFound

    for kind in kinds:
        try:
            return FINDERS[kind](client, name, size)
        except NotFound:
            if len(kinds) == 1:
                raise
    near = nearest(name, [*container_names(client), *local_names(client)])
    hint = f"did you mean `{near}`?" if near else "docker ps -a and docker images list what there is"
    raise CommandError(f"Error: No such object: {name}", hint=hint)


def _formatted(template: str, found: list[Any]) -> Result:
    try:
        if template == "json":
            return Text("\n".join(FUNCTIONS["json"](item) for item in found), data=found)
        parsed = Template(template)
        return Text("\n".join(parsed.render(structured(item)) for item in found), data=found)
    except TemplateError as error:
        raise CommandError(
            f"template parsing error: {error}", hint=_known_fields(str(error), found)
        ) from None


def _known_fields(message: str, found: list[Any]) -> str | None:
    """The nearest field to one that is not there."""
    import re

    missing = re.search(r'no entry for key "(\w+)"', message)
    if not missing:
        return "fields are written as {{.State.Status}}; {{json .}} shows them all"
    names: set[str] = set()

    def collect(value: Any) -> None:
        for key, item in value.items() if isinstance(value, dict) else ():
            names.add(str(key))
            collect(item)

    for item in found:
        collect(item)
    near = nearest(missing[1], names)
    return (
        f"did you mean {near}? {{{{json .}}}} shows every field" if near else "{{json .}} shows every field"
    )


FORMAT = text("format", "f", "Show only this, by a Go template such as '{{.State.Status}}'")

INSPECT = Command(
    "inspect",
    "[OPTIONS] NAME|ID [NAME|ID...]",
    "Show all that is known of containers, images, networks, volumes",
    inspect,
    (
        FORMAT,
        switch("size", "s", "Show the size of containers as well"),
        text("type", "", "Look only among these: container, image, network or volume"),
    ),
    (1, None),
)


def inspect_command(kind: str) -> Command:
    """The inspect command of one group, such as `docker image inspect`."""

    def one_kind(client: DockerClient, invocation: Invocation, console: Console) -> Result:
        return inspect_names(client, invocation, console, [kind])

    flags = (FORMAT, switch("size", "s", "Show its size as well")) if kind == "container" else (FORMAT,)
    name = kind.upper()
    return Command(
        "inspect",
        f"[OPTIONS] {name} [{name}...]",
        f"Show all that is known of a {kind}",
        one_kind,
        flags,
        (1, None),
    )
