"""Python variables in a magic's line: `{name}` and `$name` stand for what the notebook holds.

IPython's own expansion reads a line as a Python format string, in which `{{.Names}}` loses a pair of braces.
Docker's templates are full of those, so the magics do their own: only a plain name between single braces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from labkernel.commands import Result

_BRACED = re.compile(r"(?<![{$])\{([A-Za-z_]\w*)\}(?!\})")


def as_text(value: Any) -> str | None:
    """What a variable stands for in a command line; None for what has no place in one."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float | PurePath):
        return str(value)
    if isinstance(value, Result):
        return value.text
    return None


def expand(line: str, variables: Mapping[str, Any]) -> str:
    """`line` with each `{name}` of a known variable replaced; everything else stays as it is."""

    def replacement(match: re.Match[str]) -> str:
        text = as_text(variables.get(match[1]))
        return match[0] if text is None else text

    return _BRACED.sub(replacement, line)


class Environment(Mapping[str, str]):
    """What `$name` means: a variable of the notebook, else one of the environment."""

    def __init__(self, variables: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        self._variables = variables
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        text = as_text(self._variables.get(name))
        return self._environ[name] if text is None else text

    def __iter__(self) -> Any:
        return iter({**self._environ, **dict.fromkeys(self._variables, "")})

    def __len__(self) -> int:
        return len({*self._environ, *self._variables})
