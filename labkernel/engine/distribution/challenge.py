"""What a registry asks for before it answers: the header WWW-Authenticate (RFC 9110, 11.6.1). Pure: no
I/O."""

from __future__ import annotations

import re
from typing import NamedTuple

_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_PARAMETER = re.compile(rf'\s*,?\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))')


class Challenge(NamedTuple):
    """A scheme in lower case (`bearer`, `basic`) and its parameters, names in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse(header: str) -> Challenge | None:
    """The first challenge of a header; None if there is none."""
    match = re.match(rf"\s*({_TOKEN})", header)
    if match is None:
        return None
    parameters: dict[str, str] = {}
    position = match.end()
    while found := _PARAMETER.match(header, position):
        name, quoted, plain = found.groups()
        parameters[name.lower()] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        position = found.end()
    return Challenge(match[1].lower(), parameters)
