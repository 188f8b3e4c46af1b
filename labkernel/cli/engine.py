"""labkernel engine serve, start, stop, status."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from labkernel.commands import CommandError, Console, Invocation, Result, Text
from labkernel.commands.command import Command
from labkernel.commands.flags import many, switch, text


def _place(invocation: Invocation) -> dict[str, Any]:
    """--root and --host as engine_process takes them."""
    return _checked(invocation.options["root"], invocation.options["host"])


def _checked(root: str | None, host: str | None) -> dict[str, Any]:
    if host and not host.startswith("unix://"):
        raise CommandError(
            f'invalid argument "{host}" for "--host" flag: the engine listens on a unix socket',
            hint=f"such as --host unix://{Path('engine.sock').absolute()}",
            exit_code=125,
        )
    return {"root": Path(root).expanduser().absolute() if root else None, "host": host}


def _listening(invocation: Invocation) -> tuple[dict[str, Any], list[str]]:
    """The place and the daemon's options of an engine that may listen at several addresses."""
    options = invocation.options
    tcp = [host for host in options["host"] if host.startswith("tcp://")]
    unix = [host for host in options["host"] if not host.startswith("tcp://")]
    if len(unix) > 1:
        raise CommandError(
            f'invalid argument "{unix[1]}" for "--host" flag: there is one unix socket already',
            hint="--host unix://PATH once, --host tcp://ADDRESS:PORT as often as you like",
            exit_code=125,
        )
    given = [f"--tcp={host}" for host in tcp]
    for name in ("tlscert", "tlskey", "tlscacert"):
        if options[name]:  # an engine that is started works in another directory
            given.append(f"--{name}={Path(options[name]).expanduser().absolute()}")
    given += ["--tlsverify"] if options["tlsverify"] else []
    for name in ("registry-mirror", "insecure-registry"):
        given += [f"--{name}={value}" for value in options[name]]
    if level := options["log-level"]:
        if level not in LOG_LEVELS:
            raise CommandError(
                f'invalid argument "{level}" for "--log-level" flag: not a valid level',
                hint=f"one of {', '.join(LOG_LEVELS)}",
                exit_code=125,
            )
        given.append(f"--log-level={level}")
    return _checked(options["root"], unix[0] if unix else None), given


def serve(invocation: Invocation, console: Console) -> Result:
    from labkernel import engine_process

    place, options = _listening(invocation)
    return Text(exit_code=engine_process.serve(**place, options=options))


def start(invocation: Invocation, console: Console) -> Result:
    """Prints the address alone, so that export DOCKER_HOST=$(labkernel engine start) works."""
    from labkernel import engine_process

    place, options = _listening(invocation)
    return Text(engine_process.start(**place, options=options))


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
    if found.listening:
        lines += ["  listening:", *(f"    - {address}" for address in found.listening)]
    if found.limits:
        lines += ["  limited here:", *(f"    - {limit}" for limit in found.limits)]
    lines += _not_meant(found.host)
    return Text("\n".join(lines), data=found)


LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")
_ROOT = text("root", "", "Directory that the engine keeps everything in", metavar="DIR")
_FLAGS = (_ROOT, text("host", "", "Socket that the engine listens on, as unix://PATH"))

_LISTENING = (
    _ROOT,
    many(
        "host",
        "",
        "Where the engine listens: unix://PATH, and beside it tcp://ADDRESS:PORT, with TLS only",
        metavar="ADDRESS",
    ),
    text("tlscert", "", "The engine's TLS certificate, a PEM file", metavar="FILE"),
    text("tlskey", "", "The key of that certificate, a PEM file", metavar="FILE"),
    text("tlscacert", "", "The certificates that sign those of clients, a PEM file", metavar="FILE"),
    switch("tlsverify", "", "Let only clients with a certificate in"),
    text("log-level", "", f"How much is logged: {', '.join(LOG_LEVELS)}"),
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
    (*_LISTENING, *_REGISTRIES),
    (0, 0),
)
START = Command(
    "start",
    "[OPTIONS]",
    "Start the engine, and print its address for DOCKER_HOST",
    start,
    (*_LISTENING, *_REGISTRIES),
    (0, 0),
)
STOP = Command("stop", "[OPTIONS]", "Stop the engine and every container in it", stop, _FLAGS, (0, 0))
STATUS = Command(
    "status", "[OPTIONS]", "Show where the engine runs and what is limited here", status, _FLAGS, (0, 0)
)
