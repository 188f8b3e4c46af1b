"""Run a parsed command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkernel.commands.command import Invocation
from labkernel.commands.console import Console
from labkernel.commands.errors import explain
from labkernel.commands.results import Result, Text

if TYPE_CHECKING:
    from docker import DockerClient


def execute(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    """Do what `invocation` says. What streams goes to `console` while it runs; the rest is in the result.

    Raises CommandError, and KeyboardInterrupt when the user stops a command that has nothing to clean up.
    """
    if invocation.help is not None or invocation.command is None:
        return Text(invocation.help or "")
    try:
        return invocation.command.execute(client, invocation, console)
    except BrokenPipeError:
        raise  # whoever reads our output has had enough: for the command line to deal with
    except Exception as error:
        explained = explain(error, invocation.line, client)
        if explained is error:
            raise
        raise explained from error
