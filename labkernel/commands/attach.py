"""docker attach, and the attaching part of docker start -a."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkernel.commands.attached import DETACH_KEYS, Capture, join
from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.errors import CommandError
from labkernel.commands.flags import switch, text
from labkernel.commands.http import call, hijack
from labkernel.commands.results import Finished, Result
from labkernel.commands.run import exit_code
from labkernel.commands.signals import forward_signals

if TYPE_CHECKING:
    from docker import DockerClient


def attach(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    options = invocation.options
    found = client.api.inspect_container(invocation.arguments[0])
    if found["State"]["Paused"]:
        raise CommandError("You cannot attach to a paused container, unpause it first")
    if found["State"]["Restarting"]:
        raise CommandError("You cannot attach to a restarting container, wait until it is running")
    if not found["State"]["Running"]:
        raise CommandError(
            "You cannot attach to a stopped container, start it first",
            hint=f"docker start -a {invocation.arguments[0]}, or docker logs to read what it wrote",
        )
    keys = options["detach-keys"] or DETACH_KEYS
    wants_input = found["Config"]["OpenStdin"] and not options["no-stdin"]
    return _session(client, found, console, wants_input=wants_input, proxy=options["sig-proxy"], keys=keys)


def attach_and_start(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    """docker start -a / -i: attach first, so that nothing the container writes is missed, then start it."""
    name, options = invocation.arguments[0], invocation.options
    found = client.api.inspect_container(name)
    return _session(
        client,
        found,
        console,
        wants_input=options["interactive"] and found["Config"]["OpenStdin"],
        proxy=True,
        keys=options["detach-keys"] or DETACH_KEYS,
        start=lambda: client.api.start(name),
    )


def _session(
    client: DockerClient,
    found: dict[str, Any],
    console: Console,
    *,
    wants_input: bool,
    proxy: bool,
    keys: str,
    start: Callable[[], None] | None = None,
) -> Finished:
    container, tty = str(found["Id"]), bool(found["Config"]["Tty"])
    capture = Capture(console)
    stdin = console.stdin if wants_input and (console.terminal or not tty) else None
    # In a notebook's cell there is none: what was started to read some finds its end at once.
    is_empty = bool(start and wants_input and not tty and stdin is None)
    params = {"stream": 1, "stdin": int(is_empty or stdin is not None), "stdout": 1, "stderr": 1}
    stream = hijack(client, f"/containers/{container}/attach", params=params)
    condition = "next-exit" if start else "not-running"
    waiting = call(
        client, "POST", f"/containers/{container}/wait", params={"condition": condition}, stream=True
    )
    try:
        with forward_signals(client, container, console, wanted=proxy and not tty):
            if start:
                start()
            if is_empty:
                stream.end_input()
            detached = join(
                stream,
                capture,
                tty=tty,
                stdin=stdin,
                terminal=console.terminal,
                resized=lambda rows, columns: client.api.resize(container, rows, columns),
                detach_keys=keys,
            )
            code = 0 if detached else exit_code(waiting.json())
    except KeyboardInterrupt:  # without a signal to pass on, or with one too many
        return Finished(container, 0, bytes(capture.stdout), bytes(capture.stderr), detached=True)
    finally:
        stream.close()
        waiting.close()
    return Finished(container, code, bytes(capture.stdout), bytes(capture.stderr), detached)


ATTACH = Command(
    "attach",
    "[OPTIONS] CONTAINER",
    "Join the input and output of a running container",
    attach,
    (
        switch("no-stdin", "", "Pass no input on"),
        switch("sig-proxy", "", "Pass signals on to the container", default=True),
        text("detach-keys", "", "Keys that leave the container running, ctrl-p,ctrl-q by default"),
    ),
    (1, 1),
)
