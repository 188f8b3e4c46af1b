""".dockerignore: which paths of a build context do not take part.

Source: docs.docker.com/build/concepts/context "dockerignore files": wildcards with `**`, lines that begin
with `!` make exceptions, the last line that matches decides, and what holds for a folder holds for all below
it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from labkernel.engine.build.patterns import expression
from labkernel.engine.errors import InvalidParameter


@dataclass(frozen=True)
class _Pattern:
    expression: re.Pattern[str]
    is_exception: bool


class Dockerignore:
    """`text` is the file's content. Raises InvalidParameter that names the line of a bad pattern."""

    def __init__(self, text: str = "") -> None:
        self._patterns: list[_Pattern] = []
        for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
            if not line.startswith("#") and line.strip():
                self._patterns.append(self._parse(line.strip(), number))

    @staticmethod
    def _parse(line: str, number: int) -> _Pattern:
        is_exception = line.startswith("!")
        pattern = line[1:].strip() if is_exception else line
        if not pattern:
            raise InvalidParameter(
                'illegal exclusion pattern: "!"', hint=f".dockerignore line {number}: write !PATH"
            )
        clean = posixpath.normpath(pattern)
        if len(clean) > 1:
            # A leading slash means the context's top, where all paths begin anyway.
            clean = clean.lstrip("/")
        try:
            return _Pattern(expression(clean, any_depth=True), is_exception)
        except ValueError as error:
            raise InvalidParameter(
                f"error checking context: {error}", hint=f".dockerignore line {number}: {line}"
            ) from None

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def excludes(self, path: str) -> bool:
        """Whether a path (from the context's top, no leading slash) is left out."""
        excluded = False
        names = [path, *_parents(path)]
        for pattern in self._patterns:
            # Only a pattern that would change the answer matters.
            if pattern.is_exception == excluded and any(map(pattern.expression.fullmatch, names)):
                excluded = not excluded
        return excluded


def _parents(path: str) -> Iterator[str]:
    while path := posixpath.dirname(path):
        yield path
