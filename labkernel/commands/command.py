"""What a command is: its words, its flags, how many arguments it takes, and the function that does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkernel.commands.flags import Flag
from labkernel.commands.results import Result


@dataclass(frozen=True)
class Command:
    """One docker-style command. `execute` gets the client, the parsed line and the console, and returns a
    Result.

    `arguments` is (least, most) with None for no upper bound. With `interspersed` False, flags after the
    first argument belong to the command inside the container.
    """

    name: str
    synopsis: str
    summary: str
    execute: Callable[..., Result]
    flags: Sequence[Flag] = ()
    arguments: tuple[int, int | None] = (0, None)
    interspersed: bool = True


@dataclass(frozen=True)
class Group:
    """A word with commands below it: `container`, `image`, `network`, `volume`, `system`."""

    name: str
    summary: str
    commands: dict[str, Command]


@dataclass(frozen=True)
class Invocation:
    """A command line after parsing.

    `words` are the command's own words ("container", "run"), `line` the line as a shell would take it.
    `options` has every flag of the command by its long name; `given` names those that were typed;
    `program_options` are the flags before the command. `help` is the help text when that was asked for, and
    then `command` may be None.
    """

    words: tuple[str, ...]
    line: str
    command: Command | None = None
    options: dict[str, Any] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    given: frozenset[str] = frozenset()
    help: str | None = None
    program_options: dict[str, Any] = field(default_factory=dict)

    @property
    def host(self) -> str | None:
        """The engine named by -H before the command."""
        return self.program_options.get("host")
