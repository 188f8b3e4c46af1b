""".dockerignore: which paths of a build context do not take part.

Source: docs.docker.com/build/concepts/context "dockerignore files": wildcards with `**`, lines that begin
with `!` make exceptions, the last line that matches decides, and what holds for a folder holds for all below
it.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from labkernel.engine.build.patterns import expression
from labkernel.engine.errors import InvalidParameter


@dataclass(frozen=True)
class _Pattern:
    expression: re.Pattern[str]
    is_exception: bool
    line: int
    text: str


class Dockerignore:
    """`text` is what the file `name` has. Raises InvalidParameter that names the line of a bad pattern."""

    def __init__(self, text: str = "", name: str = ".dockerignore") -> None:
        self.name = name
        self._patterns: list[_Pattern] = []
        self._folders: dict[str, tuple[bool, ...]] = {}
        for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
            if not line.startswith("#") and line.strip():
                self._patterns.append(self._parse(line.strip(), number))

    def _parse(self, line: str, number: int) -> _Pattern:
        is_exception = line.startswith("!")
        pattern = line[1:].strip() if is_exception else line
        if not pattern or (is_exception and not posixpath.normpath(pattern).strip("/")):
            raise InvalidParameter(
                'illegal exclusion pattern: "!"', hint=f"{self.name} line {number}: write !PATH"
            )
        clean = posixpath.normpath(pattern).strip()
        if len(clean) > 1:
            # A leading slash means the context's top, where all paths begin anyway.
            clean = clean.lstrip("/")
        try:
            return _Pattern(expression(clean, any_depth=True), is_exception, number, line)
        except ValueError as error:
            raise InvalidParameter(
                f"error checking context: {error}", hint=f"{self.name} line {number}: {line}"
            ) from None

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def excludes(self, path: str) -> bool:
        """Whether a path (from the context's top, no leading slash) is left out."""
        return self._match(path)[0]

    def rule(self, path: str) -> tuple[int, str] | None:
        """The line number and the text of the line that leaves a path out; None for one that is not."""
        excluded, holds = self._match(path)
        if not excluded:
            return None
        last = [pattern for pattern, held in zip(self._patterns, holds, strict=True) if held][-1]
        return last.line, last.text

    def _match(self, path: str) -> tuple[bool, tuple[bool, ...]]:
        """Whether a path is left out, and which patterns hold for it, itself or by a folder above it."""
        above = posixpath.dirname(path)
        inherited = self._folder(above) if above else (False,) * len(self._patterns)
        excluded = False
        holds: list[bool] = []
        for pattern, held in zip(self._patterns, inherited, strict=True):
            # A pattern that would change nothing is not looked at: it does not hold for what is below either.
            if not held and pattern.is_exception == excluded:
                held = pattern.expression.fullmatch(path) is not None
            if held:
                excluded = not pattern.is_exception
            holds.append(held)
        return excluded, tuple(holds)

    def _folder(self, path: str) -> tuple[bool, ...]:
        if path not in self._folders:
            missing = [path]
            while (above := posixpath.dirname(missing[-1])) and above not in self._folders:
                missing.append(above)
            for folder in reversed(missing):
                self._folders[folder] = self._match(folder)[1]
        return self._folders[path]
