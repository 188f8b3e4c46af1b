"""From the words of a command line to an Invocation, and the help texts."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from labkernel.commands.command import Command, Group, Invocation
from labkernel.commands.errors import CommandError, nearest
from labkernel.commands.flags import Flag, FlagError, parse_flags


@dataclass(frozen=True)
class Program:
    """A program of commands and groups of commands: `docker`, and `labkernel` itself.

    `title` is how it is called, `summary` its help's first words, `ending` the last.
    """

    title: str
    summary: str
    commands: Mapping[str, Command]
    groups: Mapping[str, Group]
    flags: Sequence[Flag] = ()
    ending: str = ""

    def parse(self, argv: Sequence[str]) -> Invocation:
        """Read a command line without the program's name: `["run", "--rm", "busybox", "true"]`.

        Raises CommandError for what cannot be understood; never exits, never prints.
        """
        line = shlex.join([self.title, *argv]) if self.title.isalpha() else f"{self.title} {shlex.join(argv)}"
        start = Invocation((), line)
        try:
            top = parse_flags(self.flags, argv, interspersed=False)
        except FlagError as error:
            raise misunderstood(error, self.title, self.flags, line) from None
        start = replace(start, program_options=top.options)
        words = top.arguments
        if words and words[0] == "help":
            words = [*words[1:], "--help"]
        if not words or words[0] == "--help" or top.wants_help:
            return replace(start, help=self.help_text())
        name, *rest = words
        if name in self.groups:
            return self._parse_group(self.groups[name], rest, start)
        if name in self.commands:
            return self._parse_command((name,), self.commands[name], rest, start)
        raise self._unknown(name, [*self.commands, *self.groups], self.title, line)

    def _parse_group(self, group: Group, words: list[str], start: Invocation) -> Invocation:
        if not words or words[0] in {"--help", "-h", "help"}:
            return replace(start, words=(group.name,), help=self.help_text((group.name,)))
        name, *rest = words
        if name not in group.commands:
            raise self._unknown(name, list(group.commands), f"{self.title} {group.name}", start.line)
        return self._parse_command((group.name, name), group.commands[name], rest, start)

    def _unknown(self, name: str, known: Sequence[str], title: str, line: str) -> CommandError:
        near = nearest(name, known)
        return CommandError(
            f"{self.title}: unknown command: {title} {name}",
            where=line,
            hint=f"did you mean `{title} {near}`?" if near else f"`{title} --help` lists the commands",
        )

    def _parse_command(
        self, words: tuple[str, ...], command: Command, rest: list[str], start: Invocation
    ) -> Invocation:
        title = " ".join((self.title, *words))
        try:
            parsed = parse_flags(command.flags, rest, interspersed=command.interspersed)
        except FlagError as error:
            raise misunderstood(error, title, command.flags, start.line) from None
        if parsed.wants_help:
            return replace(start, words=words, command=command, help=self.help_text(words))
        least, most = command.arguments
        if not least <= len(parsed.arguments) <= (len(parsed.arguments) if most is None else most):
            raise CommandError(
                f"{self.title}: '{title}' {_expected(least, most)}",
                where=start.line,
                why=f"usage: {title} {command.synopsis}",
                hint=(parsed.swallowed if len(parsed.arguments) < least else None)
                or f"`{title} --help` explains the command",
            )
        return replace(
            start,
            words=words,
            command=command,
            options=parsed.options,
            arguments=parsed.arguments,
            given=frozenset(parsed.given),
        )

    def help_text(self, words: tuple[str, ...] = ()) -> str:
        """The help of the program, of a group, or of a command."""
        if not words:
            return self._program_help()
        if words[0] in self.groups and len(words) == 1:
            group = self.groups[words[0]]
            rows = [(name, command.summary) for name, command in group.commands.items()]
            usage = f"Usage:  {self.title} {group.name} COMMAND"
            return "\n".join([usage, "", group.summary, "", "Commands:", *_table(rows)])
        command = self.groups[words[0]].commands[words[1]] if len(words) == 2 else self.commands[words[0]]
        usage = f"Usage:  {' '.join((self.title, *words))} {command.synopsis}".rstrip()
        lines = [usage, "", *textwrap.wrap(command.summary, 100)]
        if command.flags:
            lines += ["", "Options:", *_flag_lines(command.flags)]
        return "\n".join(lines)

    def _program_help(self) -> str:
        lines = [f"Usage:  {self.title} [OPTIONS] COMMAND", ""]
        if self.summary:
            lines += [*textwrap.wrap(self.summary, 100), ""]
        if self.commands:
            rows = [(name, command.summary) for name, command in self.commands.items()]
            lines += ["Commands:", *_table(rows), ""]
        if self.groups:
            rows = [(name, group.summary) for name, group in self.groups.items()]
            lines += ["Groups of commands:", *_table(rows), ""]
        if self.flags:
            lines += ["Options:", *_flag_lines(self.flags), ""]
        return "\n".join([*lines, self.ending or f"`{self.title} COMMAND --help` explains a command."])


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


def misunderstood(error: FlagError, title: str, flags: Sequence[Flag], line: str) -> CommandError:
    """What to say of flags that cannot be read: the nearest flag, or what a value looks like."""
    near = None
    if error.unknown and error.unknown.startswith("--"):
        near = nearest(error.unknown, [f"--{flag.name}" for flag in flags])
    return CommandError(
        error.message,
        where=line,
        hint=f"did you mean {near}?" if near else error.hint or f"`{title} --help` lists the flags",
        exit_code=125,
    )


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
