"""labkernel images make, save, load."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labkernel.commands import CommandError, Console, Invocation, Result, Text, connect, execute, parse
from labkernel.commands.command import Command
from labkernel.commands.errors import CATALOG_NAMES, nearest
from labkernel.commands.flags import text
from labkernel.commands.http import call, messages
from labkernel.commands.progress import show_progress


def make(invocation: Invocation, console: Console) -> Result:
    """Have labkernel's own engine make images. DOCKER_HOST is not asked: other engines cannot do this."""
    from labkernel import engine_process

    client = connect(engine_process.start())
    for name in invocation.arguments:
        response = call(
            client, "POST", "/labkernel/images/make", params={"name": name}, stream=True, versioned=False
        )
        try:
            show_progress(messages(response), console)
        except CommandError as error:
            error.hint = error.hint or _near(name)
            raise
    return Text()


def _near(name: str) -> str:
    near = nearest(name, CATALOG_NAMES)
    return f"did you mean {near}?" if near and near != name else f"it makes {', '.join(CATALOG_NAMES)}"


def save(invocation: Invocation, console: Console) -> Result:
    """Every named image, or those that are named here, as one archive."""
    from labkernel.cli.docker import engine_host

    client = connect(engine_host())
    names = invocation.arguments or list(_all_names(client))
    if not names:
        raise CommandError(
            "there are no images to save", where=invocation.line, hint="labkernel images make debian"
        )
    if not invocation.options["output"]:
        raise CommandError(
            "say where to save them", where=invocation.line, hint=f"{invocation.line} -o classroom.tar"
        )
    execute(client, parse(["save", "-o", invocation.options["output"], *names]), console)
    return Text("\n".join(f"Saved {name}" for name in names))


def _all_names(client: Any) -> Iterator[str]:
    for image in client.api.images():
        yield from (name for name in image.get("RepoTags") or [] if name != "<none>:<none>")


def load(invocation: Invocation, console: Console) -> Result:
    from labkernel.cli.docker import engine_host

    options, files = invocation.options, invocation.arguments
    archive = options["input"] or (files[0] if files else None)
    if not archive:
        raise CommandError(
            "say which archive to load", where=invocation.line, hint=f"{invocation.line} classroom.tar"
        )
    return execute(connect(engine_host()), parse(["load", "-i", archive]), console)


MAKE = Command(
    "make",
    "NAME [NAME...]",
    f"Make base images from this machine's package sources, without a registry: {', '.join(CATALOG_NAMES)}",
    make,
    (),
    (1, None),
)
SAVE = Command(
    "save",
    "-o FILE [IMAGE...]",
    "Write images, all of them by default, to one archive",
    save,
    (text("output", "o", "The archive to write", metavar="FILE"),),
)
LOAD = Command(
    "load",
    "FILE",
    "Read the images of an archive",
    load,
    (text("input", "i", "The archive to read", metavar="FILE"),),
    (0, 1),
)
