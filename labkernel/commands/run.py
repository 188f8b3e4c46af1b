"""docker run and docker create."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkernel.commands.attached import DETACH_KEYS, Capture, join, key_sequence
from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.container_config import container_config
from labkernel.commands.create_flags import CREATE_FLAGS, RUN_FLAGS
from labkernel.commands.errors import CATALOG_NAMES, CommandError, explain, is_offline, local_names
from labkernel.commands.flags import swallowed
from labkernel.commands.http import call, hijack
from labkernel.commands.pull import pull_image, split_reference
from labkernel.commands.results import Finished, Result, Text
from labkernel.commands.signals import forward_signals
from labkernel.commands.told import is_news

if TYPE_CHECKING:
    from docker import DockerClient


def create(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    image, *command = invocation.arguments
    config = container_config(invocation.options, image, command, detach=False)
    return Text(_create(client, invocation, config, console))


def run(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    image, *command = invocation.arguments
    options = dict(invocation.options)
    detach = options["detach"]
    if not detach:
        fit_to_console(options, console)
    if detach and options["attach"]:
        raise CommandError("conflicting options: cannot specify both --attach and --detach", exit_code=125)
    key_sequence(options["detach-keys"] or DETACH_KEYS)
    try:
        config = container_config(options, image, command, detach=detach)
        if options["tty"] and console.terminal:
            config["HostConfig"]["ConsoleSize"] = list(console.terminal.size())
        container = _create(client, invocation, config, console)
        if detach:
            client.api.start(container)
            return Text(container)
        return _foreground(client, container, config, options, console)
    except BrokenPipeError:
        raise
    except Exception as error:
        explained = explain(error, invocation.line, client)
        if re.search("no such image|pull access denied", explained.what, re.I) or is_offline(explained.what):
            explained.hint = _swallowed_image(invocation, client) or explained.hint
        raise _as_run_error(explained, invocation.arguments) from None


def fit_to_console(options: dict[str, Any], console: Console) -> None:
    """-t wants a terminal and -i input. Where there never is one (a notebook cell) the container runs
    without.
    """
    if console.terminal is not None or not (options["tty"] or options["interactive"]):
        return
    if console.stdin is not None:
        if options["tty"] and options["interactive"]:
            raise CommandError(
                "the input device is not a TTY", hint="leave out -t when input comes from a pipe"
            )
        return
    if options["tty"]:
        console.write_error(
            b"note: there is no terminal here, so this runs without -it and without input\n"
            b"hint: open one beside the notebook, or start it with -d and use `docker exec NAME COMMAND`\n"
        )
    else:
        console.write_error(
            b"note: there is no input here, so this runs without -i\n"
            b"hint: a command can bring its own, as in: sh -c 'echo some text | wc'\n"
        )
    options["tty"] = options["interactive"] = False


def _create(client: DockerClient, invocation: Invocation, config: dict[str, Any], console: Console) -> str:
    """Create the container, pulling its image as --pull says. Returns the id."""
    from docker.errors import ImageNotFound, NotFound

    options, image = invocation.options, config["Image"]
    cidfile = Path(options["cidfile"]) if options["cidfile"] else None
    if cidfile and cidfile.exists():
        raise CommandError(
            f"container ID file found, make sure the other container isn't running or delete {cidfile}",
            exit_code=125,
        )
    if options["pull"] not in {"always", "missing", "never", ""}:
        raise CommandError(
            f'invalid pull option: \'{options["pull"]}\': must be one of "always", "missing" or "never"',
            exit_code=125,
        )

    def new() -> dict[str, Any]:
        answer: dict[str, Any] = client.api.create_container_from_config(
            config, options["name"], options["platform"]
        )
        return answer

    def pull() -> None:
        pull_image(
            client, image, _AsNotes(console), quiet=options["quiet"], platform=options["platform"] or ""
        )

    if options["pull"] == "always":
        pull()
    try:
        created = new()
    except (ImageNotFound, NotFound) as error:
        if options["pull"] == "never" or "no such image" not in str(error.explanation).lower():
            raise
        if not options["quiet"]:
            name = image if split_reference(image)[1] else f"{image}:latest"
            console.note(f"Unable to find image '{name}' locally\n".encode())
        pull()
        created = new()
    for warning in created.get("Warnings") or []:
        if is_news(client.api.base_url, warning):
            console.write_error(f"WARNING: {warning}\n".encode())
    container = str(created["Id"])
    if cidfile:
        cidfile.write_text(container)
    return container


class _AsNotes:
    """The console with everything as notes: the pull of a run must not mix with the container's output."""

    def __init__(self, console: Console) -> None:
        self.stdin = console.stdin
        self.terminal = console.terminal
        self.write = console.note
        self.write_error = console.write_error
        self.note = console.note
        self.progress = console.progress
        self.progress_done = console.progress_done


def _foreground(
    client: DockerClient, container: str, config: dict[str, Any], options: dict[str, Any], console: Console
) -> Finished:
    """Attach, start, and stay until the container ends. The wait is registered before the start, so that not
    even a container that ends at once and removes itself can end unseen."""
    from docker.errors import APIError

    capture = Capture(console)
    params = {
        "stream": 1,
        "stdin": int(config["AttachStdin"]),
        "stdout": int(config["AttachStdout"]),
        "stderr": int(config["AttachStderr"]),
        **({"detachKeys": options["detach-keys"]} if options["detach-keys"] else {}),
    }
    stream = hijack(client, f"/containers/{container}/attach", params=params)
    condition = "removed" if options["rm"] else "next-exit"
    waiting = call(
        client, "POST", f"/containers/{container}/wait", params={"condition": condition}, stream=True
    )
    try:
        with forward_signals(client, container, console, wanted=options["sig-proxy"] and not config["Tty"]):
            client.api.start(container)
            detached = join(
                stream,
                capture,
                tty=config["Tty"],
                stdin=console.stdin if config["AttachStdin"] else None,
                terminal=console.terminal,
                resized=lambda rows, columns: client.api.resize(container, rows, columns),
                detach_keys=options["detach-keys"] or DETACH_KEYS,
            )
            code = 0 if detached else exit_code(waiting.json())
    except BrokenPipeError:
        # As in `yes | head`: no one reads any more. Left running, it would fill the disk with its log.
        with contextlib.suppress(APIError):
            client.api.kill(container)
        raise
    except KeyboardInterrupt:
        raise CommandError(
            f"left {container[:12]}, which is still running",
            hint=f"docker stop {container[:12]}",
            exit_code=130,
        ) from None
    finally:
        stream.close()
        waiting.close()
    return Finished(container, code, bytes(capture.stdout), bytes(capture.stderr), detached)


def exit_code(answer: dict[str, Any]) -> int:
    """The StatusCode of a wait. Raises CommandError when the engine could not find it out."""
    if (answer.get("Error") or {}).get("Message"):
        raise CommandError(f"Error waiting for container: {answer['Error']['Message']}", exit_code=125)
    return int(answer["StatusCode"])


def _as_run_error(error: CommandError, arguments: Sequence[str]) -> CommandError:
    """docker run's own exit codes: 127 for a command that is not there, 126 for one that cannot be run, 125
    else.
    """
    if not error.what.startswith("docker: "):
        error.what = f"docker: {error.what}"
    if error.exit_code == 1:
        error.exit_code = start_failure_code(error.what)
    named = re.search(r'exec: "([^"]+)": executable file not found', error.what)
    if named:
        inside = f"docker run --rm -it --entrypoint sh {arguments[0]}"
        error.hint = f"the image {arguments[0]} has no command {named[1]}; look inside with: {inside}"
    return error


def _swallowed_image(invocation: Invocation, client: DockerClient) -> str | None:
    """A flag whose value is the name of an image has most likely taken what was meant as the image."""
    images = {*local_names(client), *CATALOG_NAMES}
    assert invocation.command is not None
    for flag in invocation.command.flags:
        value = invocation.options[flag.name]
        for text in value if flag.repeatable else [value]:
            if flag.name in invocation.given and text in images:
                return swallowed(f"--{flag.name}", text, flag)
    return None


def start_failure_code(message: str) -> int:
    """The exit code for a container that could not be started, from the engine's words."""
    if re.search(r"executable file not found|no such file or directory|cannot find the file", message):
        return 127
    if re.search(r"permission denied|is a directory", message, re.IGNORECASE):
        return 126
    return 125


RUN = Command(
    "run",
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Make a container from an image and run a command in it",
    run,
    RUN_FLAGS,
    (1, None),
    interspersed=False,
)

CREATE = Command(
    "create",
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Make a container without starting it",
    create,
    CREATE_FLAGS,
    (1, None),
    interspersed=False,
)
