"""What a command is: its words, its flags, how many arguments it takes, and the function that does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkernel.commands.console import Console
from labkernel.commands.flags import Flag
from labkernel.commands.results import Result

if TYPE_CHECKING:
    from docker import DockerClient


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
    execute: Callable[[DockerClient, Invocation, Console], Result]
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

    `words` are the command's own words ("container", "run"), `argv` the line as given. `options` has every
    flag of the command by its long name; `given` names those that were typed. `help` is the help text when
    that was asked for, and then `command` may be None. `host` is the value of a global -H.
    """

    words: tuple[str, ...]
    argv: tuple[str, ...]
    command: Command | None
    options: dict[str, Any] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    given: frozenset[str] = frozenset()
    help: str | None = None
    host: str | None = None

    @property
    def line(self) -> str:
        """The line as a shell would take it, for messages."""
        import shlex

        return shlex.join(("docker", *self.argv))
