"""Docker-style commands over docker-py, shared by the notebook's magics and the command line.

    invocation = parse(split_line("run --rm busybox echo hi"))  # or any list of words
    result = execute(client, invocation, console)  # streams go to the console while it runs
    print(result)  # what is left to show: a table, an id, nothing

Failures are CommandError: one block of text with a hint. Nothing here imports docker before a command is
executed.
"""

from __future__ import annotations

from labkernel.commands.build_explanation import Explanation
from labkernel.commands.command import Command, Group, Invocation
from labkernel.commands.connect import connect
from labkernel.commands.console import Console, Recorder, Terminal
from labkernel.commands.docker import help_text, parse
from labkernel.commands.errors import CommandError
from labkernel.commands.execute import execute
from labkernel.commands.line import split_line
from labkernel.commands.parser import Program
from labkernel.commands.results import BuildStep, Built, Document, Finished, Listing, Result, Text

__all__ = [
    "BuildStep",
    "Built",
    "Command",
    "CommandError",
    "Console",
    "Document",
    "Explanation",
    "Finished",
    "Group",
    "Invocation",
    "Listing",
    "Program",
    "Recorder",
    "Result",
    "Terminal",
    "Text",
    "connect",
    "execute",
    "help_text",
    "parse",
    "split_line",
]
