"""From the words of a command line to an Invocation, and the help texts."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from labkernel.commands.command import Command, Group, Invocation
from labkernel.commands.errors import CommandError, nearest
from labkernel.commands.flags import Flag, FlagError, parse_flags, switch, text
from labkernel.commands.table import COMMANDS, GROUPS

_GLOBAL_FLAGS = (
    text(
        "host",
        "H",
        "The engine to talk to, such as unix:///run/docker.sock; DOCKER_HOST otherwise",
        metavar="list",
    ),
    switch("debug", "D", "Accepted for the docker client's sake; changes nothing"),
    text("log-level", "l", "Accepted for the docker client's sake; changes nothing"),
    switch("version", "v", "Print the version and stop"),
)


def parse(argv: Sequence[str]) -> Invocation:
    """Read a command line without its leading `docker`: `["run", "--rm", "busybox", "true"]`.

    Raises CommandError for what cannot be understood; never exits, never prints.
    """
    argv = tuple(argv)
    line = Invocation((), argv, None).line
    try:
        top = parse_flags(_GLOBAL_FLAGS, argv, interspersed=False)
    except FlagError as error:
        raise _misunderstood(error, "docker", _GLOBAL_FLAGS, line) from None
    host, words = top.options["host"], top.arguments
    if top.options["version"]:
        return Invocation((), argv, None, help=_version(), host=host)
    if words and words[0] == "help":
        words = [*words[1:], "--help"]
    if not words or words[0] == "--help" or top.wants_help:
        return Invocation((), argv, None, help=help_text(), host=host)
    name, *rest = words
    if name in GROUPS:
        return _parse_group(GROUPS[name], rest, argv, host)
    if name not in COMMANDS:
        near = nearest(name, [*COMMANDS, *GROUPS])
        raise CommandError(
            f"docker: unknown command: docker {name}",
            where=line,
            hint=f"did you mean `docker {near}`?" if near else "`docker --help` lists the commands",
        )
    return _parse_command((name,), COMMANDS[name], rest, argv, host)


def _parse_group(group: Group, words: list[str], argv: tuple[str, ...], host: str | None) -> Invocation:
    if not words or words[0] in {"--help", "-h", "help"}:
        return Invocation((group.name,), argv, None, help=help_text((group.name,)), host=host)
    name, *rest = words
    if name not in group.commands:
        near = nearest(name, group.commands)
        raise CommandError(
            f"docker: unknown command: docker {group.name} {name}",
            where=Invocation((), argv, None).line,
            hint=f"did you mean `docker {group.name} {near}`?"
            if near
            else f"`docker {group.name} --help` lists the commands",
        )
    return _parse_command((group.name, name), group.commands[name], rest, argv, host)


def _parse_command(
    words: tuple[str, ...], command: Command, rest: list[str], argv: tuple[str, ...], host: str | None
) -> Invocation:
    title = " ".join(("docker", *words))
    line = Invocation((), argv, None).line
    try:
        parsed = parse_flags(command.flags, rest, interspersed=command.interspersed)
    except FlagError as error:
        raise _misunderstood(error, title, command.flags, line) from None
    if parsed.wants_help:
        return Invocation(words, argv, command, help=help_text(words), host=host)
    least, most = command.arguments
    if not least <= len(parsed.arguments) <= (len(parsed.arguments) if most is None else most):
        raise CommandError(
            f"docker: '{title}' {_expected(least, most)}",
            where=line,
            why=f"usage: {title} {command.synopsis}",
            hint=f"`{title} --help` explains the command",
        )
    return Invocation(
        words, argv, command, parsed.options, parsed.arguments, frozenset(parsed.given), host=host
    )


def _expected(least: int, most: int | None) -> str:
    def counted(number: int) -> str:
        return f"{number} argument" + ("" if number == 1 else "s")

    if most == 0:
        return "accepts no arguments"
    if least == most:
        return f"requires {counted(least)}"
    if most is None:
        return f"requires at least {counted(least)}"
    if least == 0:
        return f"accepts at most {counted(most)}"
    return f"requires at least {least} and at most {counted(most)}"


def _misunderstood(error: FlagError, title: str, flags: Sequence[Flag], line: str) -> CommandError:
    near = None
    if error.unknown and error.unknown.startswith("--"):
        near = nearest(error.unknown, [f"--{flag.name}" for flag in flags])
    return CommandError(
        error.message,
        where=line,
        hint=f"did you mean {near}?" if near else f"`{title} --help` lists the flags",
        exit_code=125,
    )


def help_text(words: tuple[str, ...] = ()) -> str:
    """The help of `docker`, of a group, or of a command."""
    if not words:
        return "\n".join(
            [
                "Usage:  docker [OPTIONS] COMMAND",
                "",
                "Commands:",
                *_table([(name, command.summary) for name, command in sorted(COMMANDS.items())]),
                "",
                "Groups:",
                *_table([(name, group.summary) for name, group in sorted(GROUPS.items())]),
                "",
                "Options:",
                *_flag_lines(_GLOBAL_FLAGS),
                "",
                "`docker COMMAND --help` explains a command.",
            ]
        )
    if words[0] in GROUPS and len(words) == 1:
        group = GROUPS[words[0]]
        return "\n".join(
            [
                f"Usage:  docker {group.name} COMMAND",
                "",
                group.summary,
                "",
                "Commands:",
                *_table([(name, command.summary) for name, command in group.commands.items()]),
            ]
        )
    command = GROUPS[words[0]].commands[words[1]] if len(words) == 2 else COMMANDS[words[0]]
    lines = [f"Usage:  {' '.join(('docker', *words))} {command.synopsis}".rstrip(), "", command.summary]
    if command.flags:
        lines += ["", "Options:", *_flag_lines(command.flags)]
    return "\n".join(lines)


def _flag_lines(flags: Sequence[Flag]) -> list[str]:
    rows = []
    for flag in sorted(flags, key=lambda flag: flag.name):
        short = f"-{flag.short}, " if flag.short else "    "
        rows.append((f"{short}--{flag.name} {flag.metavar}".rstrip(), flag.help))
    return _table(rows)


def _table(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(left) for left, _ in rows) + 3
    lines = []
    for left, right in rows:
        wrapped = textwrap.wrap(right, max(100 - width, 30)) or [""]
        lines.append(f"  {left.ljust(width)}{wrapped[0]}")
        lines += [" " * (width + 2) + more for more in wrapped[1:]]
    return lines


def _version() -> str:
    from importlib.metadata import version

    return f"labkernel docker-style commands, version {version('labkernel')}"
