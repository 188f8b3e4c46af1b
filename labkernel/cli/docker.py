"""labkernel docker: Docker's commands on a terminal."""

from __future__ import annotations

import os
from collections.abc import Sequence

from labkernel.commands import CommandError, Console, Result, Text, connect, execute, parse


def engine_host() -> str | None:
    """None where DOCKER_HOST chooses the engine, else the address of labkernel's own, started if need be.

    Raises CommandError.
    """
    if os.environ.get("DOCKER_HOST"):
        return None
    from labkernel import engine_process

    return engine_process.start()


def execute_docker(argv: Sequence[str], console: Console) -> Result:
    """Run one docker command line. Help needs no engine."""
    invocation = parse(argv)
    if invocation.help is not None:
        return Text(invocation.help)
    try:
        client = connect(invocation.host or engine_host())
    except CommandError as error:
        error.where = invocation.line
        raise
    return execute(client, invocation, console)
