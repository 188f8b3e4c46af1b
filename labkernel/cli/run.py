"""From the words after `labkernel` to an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from labkernel.cli.table import LABKERNEL
from labkernel.cli.terminal import TerminalConsole
from labkernel.commands import CommandError, Console, Result, Text
from labkernel.commands.errors import explain


def run(argv: Sequence[str]) -> int:
    """Do what `argv` says and return the exit code. A failure is printed as one block, never a traceback."""
    signal.signal(signal.SIGTERM, _end)
    console = TerminalConsole()
    try:
        result = _execute(argv, console)
        if result.text:
            console.write(f"{result.text}\n".encode())
        return result.exit_code
    except CommandError as error:
        console.progress_done()
        text = error.rendered(in_colours=sys.stderr.isatty() and "NO_COLOR" not in os.environ)
        console.write_error(f"{text}\n".encode())
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output has had enough: what is still in the buffer has no place to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        console.progress_done()
        return 128 + signal.SIGINT


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)  # an exception, so that a terminal in raw mode is put right on the way out


def _execute(argv: Sequence[str], console: Console) -> Result:
    if argv[:1] == ["docker"]:  # everything after it is docker's
        from labkernel.cli.docker import execute_docker

        return execute_docker(argv[1:], console)
    invocation = LABKERNEL.parse(argv)
    if invocation.help is not None or invocation.command is None:
        return Text(invocation.help or "")
    try:
        return invocation.command.execute(invocation, console)
    except BrokenPipeError:
        raise
    except Exception as error:
        raise explain(error, invocation.line) from None
