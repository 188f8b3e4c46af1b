"""A container in the foreground of a cell: interrupting the cell ends the container."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from labkernel.commands import CommandError, Console, Invocation, Result, execute
from labkernel.notebook.failures import Interrupted

if TYPE_CHECKING:
    from docker import DockerClient

PATIENCE = 3
"""Seconds a container has after SIGINT, and again after SIGTERM."""


def run_in_foreground(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    """Execute `run`, and end its container when the cell is interrupted.

    A terminal passes each Ctrl-C on, and a learner presses it until the program gives in. A notebook has one
    button: what follows it is SIGINT, then what `docker stop` does. Raises Interrupted after that.
    """
    with tempfile.TemporaryDirectory() as directory:
        id_file = Path(invocation.options["cidfile"] or f"{directory}/id")
        options = {**invocation.options, "cidfile": str(id_file), "sig-proxy": False}
        try:
            return execute(client, dataclasses.replace(invocation, options=options), console)
        except CommandError as error:
            if error.exit_code != 130:
                raise
        except KeyboardInterrupt:
            pass
        container = id_file.read_text() if id_file.exists() else ""
        raise Interrupted(end(client, container)) from None


def leaving_on_interrupt(invocation: Invocation) -> Invocation:
    """`attach` that an interrupt of the cell ends, and not the container: a notebook has no detach keys."""
    return dataclasses.replace(invocation, options={**invocation.options, "sig-proxy": False})


def end(client: DockerClient, container: str) -> str:
    """Make the container's process end. Returns what became of it, in words."""
    import requests
    from docker.errors import APIError

    if not container:
        return "no container was made"
    name = container[:12]
    with contextlib.suppress(APIError):  # it has ended by itself
        client.api.kill(container, "SIGINT")
        with contextlib.suppress(requests.exceptions.RequestException):  # it takes longer than we wait
            client.api.wait(container, timeout=PATIENCE)
            return f"container {name} ended"
        client.api.stop(container, timeout=PATIENCE)
    return f"container {name} was stopped"
