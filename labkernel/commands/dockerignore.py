""".dockerignore: which files of the context are left out (pure).

Patterns are matched as Docker does: paths are relative to the context, `*` and `?` stop at slashes, `**` does
not, a pattern that matches a directory holds for all below it, `!` takes back, and the last match decides.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator


class DockerIgnore:
    """The rules of a .dockerignore file's text. Raises ValueError for a pattern that cannot be."""

    def __init__(self, text: str) -> None:
        self.rules: list[tuple[re.Pattern[str], bool]] = []
        for line in text.lstrip("\ufeff").splitlines():
            pattern = line.strip()
            if not pattern or line.startswith("#"):
                continue
            keep = pattern.startswith("!")
            pattern = pattern.removeprefix("!").strip() if keep else pattern
            pattern = posixpath.normpath(pattern).lstrip("/") if pattern else ""
            if not pattern:
                raise ValueError('illegal exclusion pattern: "!"')
            if pattern != ".":
                try:
                    self.rules.append((re.compile(_regex(pattern), re.DOTALL), keep))
                except re.error:  # a range that runs backwards
                    raise ValueError(f"syntax error in pattern: {pattern}") from None

    def excludes(self, path: str) -> bool:
        """Whether `path`, relative and with slashes, is left out."""
        excluded = False
        for expression, keep in self.rules:
            if excluded == keep and any(expression.fullmatch(part) for part in _self_and_parents(path)):
                excluded = not keep
        return excluded

    def may_keep_below(self, directory: str) -> bool:
        """Whether a `!` rule might take back something below an excluded directory."""
        return any(keep for _, keep in self.rules) and bool(directory)


def _self_and_parents(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]


def _regex(pattern: str) -> str:
    expression, position = "", 0
    while position < len(pattern):
        char = pattern[position]
        if pattern.startswith("**", position):
            position += 2
            if pattern.startswith("/", position):
                position += 1
                expression += "(?:.*/)?"
            else:
                expression += ".*"
            continue
        if char == "*":
            expression += "[^/]*"
        elif char == "?":
            expression += "[^/]"
        elif char == "\\" and position + 1 < len(pattern):
            position += 1
            expression += re.escape(pattern[position])
        elif char == "[":
            end = pattern.find("]", position + 2)
            if end < 0:
                raise ValueError(f"syntax error in pattern: {pattern}")
            body = pattern[position + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            expression += f"[{body}]"
            position = end
        else:
            expression += re.escape(char)
        position += 1
    return expression
