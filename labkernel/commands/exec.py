"""docker exec: one more process in a running container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from labkernel.commands.attached import DETACH_KEYS, Capture, join
from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.container_config import environment
from labkernel.commands.flags import many, switch, text
from labkernel.commands.http import call, hijack
from labkernel.commands.results import Finished, Result, Text
from labkernel.commands.run import fit_to_console

if TYPE_CHECKING:
    from docker import DockerClient


def exec_(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    name, *command = invocation.arguments
    options = dict(invocation.options)
    if not options["detach"]:
        fit_to_console(options, console)
    body = {
        "User": options["user"] or "",
        "Privileged": options["privileged"],
        "Tty": options["tty"],
        "AttachStdin": options["interactive"] and not options["detach"],
        "AttachStdout": not options["detach"],
        "AttachStderr": not options["detach"],
        "Env": environment(options["env"], options["env-file"]),
        "WorkingDir": options["workdir"] or "",
        "Cmd": command,
    }
    created = call(client, "POST", f"/containers/{quote(name)}/exec", body=body).json()["Id"]
    start: dict[str, Any] = {"Detach": options["detach"], "Tty": options["tty"]}
    if options["tty"] and console.terminal:
        start["ConsoleSize"] = list(console.terminal.size())
    if options["detach"]:
        call(client, "POST", f"/exec/{created}/start", body=start)
        return Text()
    capture = Capture(console)
    stream = hijack(client, f"/exec/{created}/start", body=start)
    detached = join(
        stream,
        capture,
        tty=options["tty"],
        stdin=console.stdin if options["interactive"] else None,
        terminal=console.terminal,
        resized=lambda rows, columns: client.api.exec_resize(created, rows, columns),
        detach_keys=options["detach-keys"] or DETACH_KEYS,
    )
    code = 0 if detached else int(client.api.exec_inspect(created)["ExitCode"] or 0)
    if code in {126, 127} and b"exec failed" in capture.stdout:  # the engine's words are shown already
        hint = f"hint: {command[0]} is no command in {name}; look with: docker exec {name} ls /bin\n"
        console.write_error(hint.encode())
    return Finished(name, code, bytes(capture.stdout), bytes(capture.stderr), detached)


EXEC = Command(
    "exec",
    "[OPTIONS] CONTAINER COMMAND [ARG...]",
    "Run a command in a running container",
    exec_,
    (
        switch("detach", "d", "Run in the background"),
        switch("interactive", "i", "Keep standard input open"),
        switch("tty", "t", "Give the command a terminal"),
        many("env", "e", "Set an environment variable, as NAME=VALUE"),
        many("env-file", "", "Read environment variables from a file, one a line"),
        text("user", "u", "User (and :group) of the command, by name or number"),
        text("workdir", "w", "Directory in which the command starts"),
        switch("privileged", "", "Give the command every capability"),
        text("detach-keys", "", "Keys that leave the command running, ctrl-p,ctrl-q by default"),
    ),
    (2, None),
    interspersed=False,
)
