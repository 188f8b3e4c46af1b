"""The program `docker`: its commands as one, for the notebook's magics and `labkernel docker`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from labkernel.commands.command import Invocation
from labkernel.commands.errors import CommandError
from labkernel.commands.flags import switch, text
from labkernel.commands.line import shell_hint
from labkernel.commands.parser import Program
from labkernel.commands.table import COMMANDS, GROUPS

_FLAGS = (
    text("host", "H", "The engine to talk to, such as unix:///run/docker.sock; else that of DOCKER_HOST"),
    switch("debug", "D", "Accepted for the docker client's sake; changes nothing"),
    text("log-level", "l", "Accepted for the docker client's sake; changes nothing"),
    switch("version", "v", "Print the version and stop"),
)

DOCKER = Program("docker", "", COMMANDS, GROUPS, _FLAGS)


def parse(argv: Sequence[str]) -> Invocation:
    """Read a docker command line without the word `docker`. Raises CommandError."""
    try:
        invocation = DOCKER.parse(argv)
    except CommandError as error:
        if argv and argv[0] not in COMMANDS:
            error.hint = shell_hint(argv[0]) or error.hint
        raise
    if invocation.program_options["version"]:
        from importlib.metadata import version

        return replace(invocation, help=f"docker-style commands of labkernel {version('labkernel')}")
    return invocation


def help_text(words: tuple[str, ...] = ()) -> str:
    """The help of docker (no words), of a group (`("image",)`) or of a command (`("image", "ls")`)."""
    return DOCKER.help_text(words)
