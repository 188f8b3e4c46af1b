"""docker start, stop, restart, kill, pause, unpause, wait, rm, rename, update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from labkernel.commands.attach import attach_and_start
from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.container_config import resources
from labkernel.commands.create_flags import LIMITS
from labkernel.commands.each import for_each
from labkernel.commands.errors import CommandError
from labkernel.commands.flags import integer, switch, text
from labkernel.commands.http import call
from labkernel.commands.results import Result, Text
from labkernel.commands.run import exit_code

if TYPE_CHECKING:
    from docker import DockerClient


def start(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    options = invocation.options
    if options["attach"] or options["interactive"]:
        if len(invocation.arguments) > 1:
            raise CommandError("you cannot start and attach multiple containers at once")
        return attach_and_start(client, invocation, console)
    return for_each(client, invocation, console, lambda name: client.api.start(name))


def _stop_parameters(options: dict[str, Any]) -> dict[str, Any]:
    return {
        **({} if options["timeout"] is None else {"t": options["timeout"]}),
        **({"signal": options["signal"]} if options["signal"] else {}),
    }


def stop(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    parameters = _stop_parameters(invocation.options)

    def one(name: str) -> None:
        call(client, "POST", f"/containers/{quote(name)}/stop", params=parameters)

    return for_each(client, invocation, console, one)


def restart(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    parameters = _stop_parameters(invocation.options)

    def one(name: str) -> None:
        call(client, "POST", f"/containers/{quote(name)}/restart", params=parameters)

    return for_each(client, invocation, console, one)


def kill(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    return for_each(
        client, invocation, console, lambda name: client.api.kill(name, invocation.options["signal"])
    )


def pause(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    return for_each(client, invocation, console, lambda name: client.api.pause(name))


def unpause(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    return for_each(client, invocation, console, lambda name: client.api.unpause(name))


def wait(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    return for_each(client, invocation, console, lambda name: str(exit_code(dict(client.api.wait(name)))))


def rm(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    options = invocation.options

    def one(name: str) -> None:
        name = name.strip("/")
        if not name:
            raise CommandError("container name cannot be empty")
        client.api.remove_container(name, v=options["volumes"], link=options["link"], force=options["force"])

    return for_each(client, invocation, console, one, may_be_missing=options["force"])


def rename(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    old, new = invocation.arguments
    client.api.rename(old, new)
    return Text()


def update(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    options = invocation.options
    if not invocation.given:
        raise CommandError(
            "you must provide one or more flags when using this command",
            hint="such as docker update -m 512m NAME",
        )
    body = {key: value for key, value in resources(options).items() if value not in (None, "", 0)}
    if options["restart"]:
        policy, _, times = options["restart"].partition(":")
        body["RestartPolicy"] = {"Name": policy, "MaximumRetryCount": int(times) if times.isdigit() else 0}

    def one(name: str) -> None:
        answer = call(client, "POST", f"/containers/{quote(name)}/update", body=body).json()
        for warning in answer.get("Warnings") or []:
            console.write_error(f"WARNING: {warning}\n".encode())

    return for_each(client, invocation, console, one)


_SEVERAL = (1, None)
_TIMEOUT = integer("timeout", "t", "Seconds to wait before it is killed")
_SIGNAL = text("signal", "s", "Signal to send, such as SIGTERM or 15")

START = Command(
    "start",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Start stopped containers",
    start,
    (
        switch("attach", "a", "Stay and show the container's output"),
        switch("interactive", "i", "Pass input on to the container"),
        text("detach-keys", "", "Keys that leave the container running, ctrl-p,ctrl-q by default"),
    ),
    _SEVERAL,
)
STOP = Command(
    "stop",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Stop running containers",
    stop,
    (_TIMEOUT, _SIGNAL),
    _SEVERAL,
)
RESTART = Command(
    "restart",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Stop and start containers",
    restart,
    (_TIMEOUT, _SIGNAL),
    _SEVERAL,
)
KILL = Command(
    "kill",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Send a signal, SIGKILL by default, to running containers",
    kill,
    (_SIGNAL,),
    _SEVERAL,
)
PAUSE = Command(
    "pause", "CONTAINER [CONTAINER...]", "Freeze the processes of containers", pause, (), _SEVERAL
)
UNPAUSE = Command("unpause", "CONTAINER [CONTAINER...]", "Let frozen containers go on", unpause, (), _SEVERAL)
WAIT = Command(
    "wait",
    "CONTAINER [CONTAINER...]",
    "Wait until containers stop; print their exit codes",
    wait,
    (),
    _SEVERAL,
)
RM = Command(
    "rm",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Remove containers",
    rm,
    (
        switch("force", "f", "Kill it first when it runs"),
        switch("volumes", "v", "Remove its unnamed volumes too"),
        switch("link", "l", "Remove a link, not the container"),
    ),
    _SEVERAL,
)
RENAME = Command("rename", "CONTAINER NEW_NAME", "Give a container another name", rename, (), (2, 2))
UPDATE = Command(
    "update",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Change the limits of containers",
    update,
    (
        *(flag for flag in LIMITS if not flag.name.startswith(("oom", "cgroup", "memory-swappiness"))),
        text("restart", "", "When to start it again: no, on-failure[:times], always, unless-stopped"),
    ),
    _SEVERAL,
)
