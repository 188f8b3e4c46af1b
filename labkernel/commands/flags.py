"""The flags of a command line, read as the docker client reads them.

The docker client's grammar is that of Go's pflag package: `--name value`, `--name=value`, `-n value`,
`-nvalue`, `-abc` for several switches at once, `--switch=false`, and `--` as the end of flags. argparse
differs in all of the finer points (abbreviations, switches with values, flags after the first argument), so
the grammar is written out here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkernel.commands.units import parse_duration, parse_size


@dataclass(frozen=True)
class Flag:
    """One flag of a command.

    `metavar` is the kind of value shown by --help, "" for a switch. `convert` turns the typed text into the
    value and raises ValueError with the reason when it cannot. A repeatable flag collects a list.
    """

    name: str
    short: str
    help: str
    metavar: str = ""
    default: Any = None
    repeatable: bool = False
    convert: Callable[[str], Any] = str

    @property
    def is_switch(self) -> bool:
        return self.metavar == ""


def _boolean(text: str) -> bool:
    if text in {"1", "t", "T", "true", "TRUE", "True"}:
        return True
    if text in {"0", "f", "F", "false", "FALSE", "False"}:
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text):
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def _nano_cpus(text: str) -> int:
    """CPUs as a decimal number -> billionths of a CPU, the API's NanoCpus."""
    if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", text):
        raise ValueError(f"failed to parse {text} as a rational number")
    whole, _, fraction = text.partition(".")
    if len(fraction.rstrip("0")) > 9:
        raise ValueError("value is too precise")
    return int(whole or "0") * 10**9 + int((fraction[:9] or "0").ljust(9, "0"))


def switch(name: str, short: str, help: str, *, default: bool = False) -> Flag:
    """A flag that is on or off."""
    return Flag(name, short, help, default=default, convert=_boolean)


def text(name: str, short: str, help: str, *, metavar: str = "string", default: str | None = None) -> Flag:
    """A flag with one value; the last one given counts."""
    return Flag(name, short, help, metavar, default)


def many(name: str, short: str, help: str, *, metavar: str = "list") -> Flag:
    """A flag that may be given several times; its value is the list of all values."""
    return Flag(name, short, help, metavar, (), repeatable=True)


def integer(name: str, short: str, help: str, *, default: int | None = None) -> Flag:
    """A flag whose value is a whole number."""
    return Flag(name, short, help, "int", default, convert=_integer)


def size(name: str, short: str, help: str) -> Flag:
    """A flag whose value is an amount of memory such as 512m; its value is in bytes."""
    return Flag(name, short, help, "bytes", convert=parse_size)


def duration(name: str, short: str, help: str) -> Flag:
    """A flag whose value is a time such as 1m30s; its value is in nanoseconds."""
    return Flag(name, short, help, "duration", convert=parse_duration)


def cpus(name: str, short: str, help: str) -> Flag:
    """A flag whose value is a number of CPUs such as 1.5; its value is in billionths of a CPU."""
    return Flag(name, short, help, "decimal", convert=_nano_cpus)


_HINTS = {
    "bytes": "an amount is a number and a unit, such as 512m or 1.5g",
    "duration": "a time is a number and a unit, such as 30s or 1m30s",
    "int": "this is a whole number",
    "decimal": "this is a number, such as 1.5",
}


class FlagError(Exception):
    """The command line does not follow the grammar. `unknown` is the flag that no one knows, as typed; `hint`
    says what a flag's value looks like."""

    def __init__(self, message: str, *, unknown: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.unknown = unknown
        self.hint = hint


@dataclass
class Parsed:
    """Values by long name, positional arguments, the flags that were given, and whether help is wanted.

    `swallowed` is the advice for when the last word was taken as the value of the flag before it.
    """

    options: dict[str, Any]
    arguments: list[str] = field(default_factory=list)
    given: set[str] = field(default_factory=set)
    wants_help: bool = False
    swallowed: str | None = None


def swallowed(typed: str, value: str, flag: Flag) -> str:
    """What to say when a word that was meant as an argument became a flag's value."""
    return f"{typed} took `{value}` as its value. {typed}: {flag.help}"


def parse_flags(flags: Sequence[Flag], argv: Sequence[str], *, interspersed: bool = True) -> Parsed:
    """Read `argv`; with `interspersed` False everything after the first positional argument is left as it is.

    Raises FlagError in pflag's words.
    """
    by_name = {flag.name: flag for flag in flags}
    by_short = {flag.short: flag for flag in flags if flag.short}
    parsed = Parsed({flag.name: [] if flag.repeatable else flag.default for flag in flags})
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            parsed.arguments += words
            break
        if len(word) < 2 or not word.startswith("-"):
            parsed.arguments.append(word)
            if not interspersed:
                parsed.arguments += words
                break
        elif word.startswith("--"):
            _long(word, words, by_name, parsed)
        else:
            _short(word, words, by_short, parsed)
        if parsed.wants_help:
            break
    return parsed


def _long(word: str, words: list[str], by_name: Mapping[str, Flag], parsed: Parsed) -> None:
    name, equals, value = word[2:].partition("=")
    if not name or name.startswith("-"):
        raise FlagError(f"bad flag syntax: {word}")
    flag = by_name.get(name)
    if flag is None:
        if name == "help":
            parsed.wants_help = True
            return
        raise FlagError(f"unknown flag: --{name}", unknown=f"--{name}")
    if not equals:
        if flag.is_switch:
            value = "true"
        elif words:
            value = words.pop(0)
            parsed.swallowed = None if words else swallowed(f"--{name}", value, flag)
        else:
            raise FlagError(f"flag needs an argument: --{name}", hint=f"--{name}: {flag.help}")
    _set(flag, value, parsed)


def _short(word: str, words: list[str], by_short: Mapping[str, Flag], parsed: Parsed) -> None:
    letters = word[1:]
    while letters:
        letter, rest = letters[0], letters[1:]
        flag = by_short.get(letter)
        if flag is None:
            if letter == "h":
                parsed.wants_help = True
                return
            raise FlagError(f"unknown shorthand flag: '{letter}' in -{letters}", unknown=f"-{letter}")
        if rest.startswith("=") and len(rest) > 1:
            value, letters = rest[1:], ""
        elif flag.is_switch:
            value, letters = "true", rest
        elif rest:
            value, letters = rest, ""
        elif words:
            value, letters = words.pop(0), ""
            parsed.swallowed = None if words else swallowed(f"-{letter}", value, flag)
        else:
            raise FlagError(
                f"flag needs an argument: '{letter}' in -{letters}", hint=f"-{letter}: {flag.help}"
            )
        _set(flag, value, parsed)


def _set(flag: Flag, value: str, parsed: Parsed) -> None:
    try:
        converted = flag.convert(value)
    except ValueError as error:
        shown = f"-{flag.short}, --{flag.name}" if flag.short else f"--{flag.name}"
        raise FlagError(
            f'invalid argument "{value}" for "{shown}" flag: {error}', hint=_HINTS.get(flag.metavar)
        ) from None
    parsed.given.add(flag.name)
    if flag.repeatable:
        parsed.options[flag.name].append(converted)
    else:
        parsed.options[flag.name] = converted
