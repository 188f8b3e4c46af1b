"""labkernel engine serve, start, stop, status."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from labkernel.commands import CommandError, Console, Invocation, Result, Text
from labkernel.commands.command import Command
from labkernel.commands.flags import many, text


def _place(invocation: Invocation) -> dict[str, Any]:
    """--root and --host as engine_process takes them."""
    root, host = invocation.options["root"], invocation.options["host"]
    if host and not host.startswith("unix://"):
        raise CommandError(
            f'invalid argument "{host}" for "--host" flag: the engine listens on a unix socket',
            hint=f"such as --host unix://{Path('engine.sock').absolute()}",
            exit_code=125,
        )
    return {"root": Path(root).expanduser().absolute() if root else None, "host": host}


def _options(invocation: Invocation) -> list[str]:
    """How registries are reached, as the daemon takes it."""
    return [
        f"--{name}={value}"
        for name in ("registry-mirror", "insecure-registry")
        for value in invocation.options[name]
    ]


def serve(invocation: Invocation, console: Console) -> Result:
    from labkernel import engine_process

    return Text(exit_code=engine_process.serve(**_place(invocation), options=_options(invocation)))


def start(invocation: Invocation, console: Console) -> Result:
    """Prints the address alone, so that export DOCKER_HOST=$(labkernel engine start) works."""
    from labkernel import engine_process

    return Text(engine_process.start(**_place(invocation), options=_options(invocation)))


def stop(invocation: Invocation, console: Console) -> Result:
    from labkernel import engine_process

    place = _place(invocation)
    host = place["host"] or engine_process.host_for(place["root"])
    stopped = engine_process.stop(**place)
    said = f"stopped the engine at {host}" if stopped else f"no engine was running at {host}"
    return Text("\n".join([said, *_not_meant(host)]))


def _not_meant(host: str) -> list[str]:
    """Who has set DOCKER_HOST may have meant that engine: these commands are about labkernel's own."""
    named = os.environ.get("DOCKER_HOST")
    if not named or named == host:
        return []
    return [f"note: DOCKER_HOST names another engine, {named}: `labkernel engine` is about labkernel's own"]


def status(invocation: Invocation, console: Console) -> Result:
    """The exit code is 0 for an engine that runs and 3 for one that does not, as init scripts have it."""
    from labkernel import engine_process

    found = engine_process.status(**_place(invocation))
    if not found.running:
        lines = ["the engine is not running", f"  host:    {found.host}", f"  root:    {found.root}"]
        lines += [*_not_meant(found.host), "hint: labkernel engine start"]
        return Text("\n".join(lines), data=found, exit_code=3)
    lines = [
        "the engine is running",
        f"  version: {found.version}",
        f"  host:    {found.host}",
        f"  root:    {found.root}",
        f"  process: {found.pid}, {'without root rights' if found.rootless else 'as root'}",
    ]
    if found.limits:
        lines += ["  limited here:", *(f"    - {limit}" for limit in found.limits)]
    lines += _not_meant(found.host)
    return Text("\n".join(lines), data=found)


_FLAGS = (
    text("root", "", "Directory that the engine keeps everything in", metavar="DIR"),
    text("host", "", "Socket that the engine listens on, as unix://PATH"),
)

_REGISTRIES = (
    many(
        "registry-mirror",
        "",
        "Registry that is asked before Docker Hub, such as http://classroom:5000",
        metavar="URL",
    ),
    many("insecure-registry", "", "Registry that may do without TLS, such as classroom:5000", metavar="HOST"),
)

SERVE = Command(
    "serve",
    "[OPTIONS]",
    "Run the engine here until it is interrupted",
    serve,
    (*_FLAGS, *_REGISTRIES),
    (0, 0),
)
START = Command(
    "start",
    "[OPTIONS]",
    "Start the engine, and print its address for DOCKER_HOST",
    start,
    (*_FLAGS, *_REGISTRIES),
    (0, 0),
)
STOP = Command("stop", "[OPTIONS]", "Stop the engine and every container in it", stop, _FLAGS, (0, 0))
STATUS = Command(
    "status", "[OPTIONS]", "Show where the engine runs and what is limited here", status, _FLAGS, (0, 0)
)
