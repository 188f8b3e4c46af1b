"""One logical line of a Dockerfile -> keyword, flags and words; each instruction has its own form.

Source: docs.docker.com/reference/dockerfile; where it leaves doubt, what the official parser does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from labkernel.engine.build.expansion import WHITESPACE
from labkernel.engine.build.nodes import Node
from labkernel.engine.build.quoting import quote

_CHAIN = re.compile(r"(?i)(onbuild[\t\v\f\r ]+){20}")
_BLANKS = re.compile(r"[\t\v\f\r ]+")


class LineError(ValueError):
    """A line that has not its instruction's form; the text is Docker's."""


class _Form(NamedTuple):
    arguments: tuple[str, ...] = ()
    is_json: bool = False
    trigger: Node | None = None


def node_from_line(line: str, escape: str) -> Node:
    """The instruction of one logical line. Raises LineError; an unknown keyword is none to it."""
    keyword, *rest = _BLANKS.split(line.strip(WHITESPACE), maxsplit=1)
    flags, arguments = _split_flags(rest[0]) if rest else ((), "")
    read = _FORMS.get(keyword.upper())
    form = read(arguments.strip(WHITESPACE), escape) if read else _Form()
    return Node(keyword, form.arguments, line, form.is_json, flags, form.trigger)


def _split_flags(text: str) -> tuple[tuple[str, ...], str]:
    """The leading `--name=value` words, their quotes and backslashes removed, and what follows them."""
    flags: list[str] = []
    position = 0
    while True:
        while position < len(text) and text[position] in WHITESPACE:
            position += 1
        if not text.startswith("--", position):
            return tuple(flags), text[position:]
        flag, quoted, position = _flag(text, position)
        if flag == "--":
            return tuple(flags), text[position:]
        if flag or quoted:
            flags.append(flag)


def _flag(text: str, position: int) -> tuple[str, bool, int]:
    word, quote_mark, quoted = "", "", False
    while position < len(text):
        character = text[position]
        if character in WHITESPACE and not quote_mark:
            break
        if character == quote_mark:
            quote_mark = ""
        elif character in "'\"" and not quote_mark:
            quote_mark, quoted = character, True
        elif character == "\\":
            position += 1
            word += text[position : position + 1]
        else:
            word += character
        position += 1
    return word, quoted, position


def split_words(text: str, escape: str) -> list[str]:
    """Words parted by spaces, quotes respected and kept: expansion removes them later."""
    found: list[str] = []
    word, quote_mark, in_word, blank_allowed = "", "", False, False
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if not in_word:
            if character in WHITESPACE:
                continue
            in_word = True
        if not quote_mark:
            if character in WHITESPACE:
                if word or blank_allowed:
                    found.append(word)
                word, in_word, blank_allowed = "", False, False
                continue
            if character in "'\"":
                quote_mark, blank_allowed = character, True
        elif character == quote_mark:
            quote_mark = ""
        # Nothing can be escaped between single quotes.
        if character == escape and quote_mark != "'":
            if position == len(text):
                break
            word += character
            character = text[position]
            position += 1
        word += character
    if in_word and (word or blank_allowed):
        found.append(word)
    return found


def _json_words(text: str) -> tuple[str, ...] | None:
    """The strings of a JSON array; None if the text is no JSON array, which makes it the shell form.

    What follows the array is ignored, as the official parser does.
    """
    if not text.startswith("["):
        return None
    try:
        value, _ = _JSON.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(item, str) for item in value):
        raise LineError("when using JSON array syntax, arrays must be comprised of strings only")
    return tuple(item.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for item in value)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is Python's, not JSON's")


_JSON = json.JSONDecoder(parse_constant=_no_constant)


def _command(text: str, escape: str) -> _Form:
    if not text:
        return _Form()
    found = _json_words(text)
    return _Form(found, is_json=True) if found is not None else _Form((text,))


def _paths(text: str, escape: str) -> _Form:
    found = _json_words(text)
    return _Form(found, is_json=True) if found is not None else _blank_separated(text, escape)


def _blank_separated(text: str, escape: str) -> _Form:
    return _Form(tuple(_BLANKS.split(text))) if text else _Form()


def _single(text: str, escape: str) -> _Form:
    return _Form((text,)) if text else _Form()


def _names(text: str, escape: str) -> _Form:
    return _Form(tuple(split_words(text, escape)))


def _pairs(instruction: str) -> Callable[[str, str], _Form]:
    def read(text: str, escape: str) -> _Form:
        found = split_words(text, escape)
        if not found:
            return _Form()
        if "=" not in found[0]:
            # The old form: one name, a space, and the rest of the line is the value.
            parts = _BLANKS.split(text, maxsplit=1)
            if len(parts) < 2:
                raise LineError(f"{instruction} must have two arguments")
            return _Form(tuple(parts))
        arguments: list[str] = []
        for word in found:
            name, equals, value = word.partition("=")
            if not equals:
                raise LineError(
                    f"Syntax error - can't find = in {quote(word)}. Must be of the form: name=value"
                )
            arguments += [name, value]
        return _Form(tuple(arguments))

    return read


def _healthcheck(text: str, escape: str) -> _Form:
    end = next((i for i, character in enumerate(text) if character in WHITESPACE), len(text))
    if end == 0:
        return _Form()
    command = _command(text[end:].lstrip(WHITESPACE), escape)
    return _Form((text[:end], *command.arguments), command.is_json)


def _onbuild(text: str, escape: str) -> _Form:
    if not text:
        return _Form()
    if _CHAIN.match(text):
        # Refused anyway, by who reads the node; nothing to gain from looking into each.
        raise LineError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    trigger = node_from_line(text, escape)
    return _Form((trigger.keyword, *trigger.arguments), trigger=trigger)


_FORMS: Mapping[str, Callable[[str, str], _Form]] = {
    "ADD": _paths,
    "ARG": _names,
    "CMD": _command,
    "COPY": _paths,
    "ENTRYPOINT": _command,
    "ENV": _pairs("ENV"),
    "EXPOSE": _blank_separated,
    "FROM": _blank_separated,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _pairs("LABEL"),
    "MAINTAINER": _single,
    "ONBUILD": _onbuild,
    "RUN": _command,
    "SHELL": _command,
    "STOPSIGNAL": _single,
    "USER": _single,
    "VOLUME": _paths,
    "WORKDIR": _single,
}

INSTRUCTIONS = tuple(_FORMS)
