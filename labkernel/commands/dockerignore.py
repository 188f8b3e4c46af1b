""".dockerignore: which files of the context are left out (pure).

Patterns are matched as Docker does: paths are relative to the context, `*` and `?` stop at slashes, `**` does
not, a pattern that matches a directory holds for all below it, `!` takes back, and the last match decides.
The engine has the same rules for contexts that others send: what they are not to differ in is tested.
"""

from __future__ import annotations

import posixpath
import re

_BAD = "syntax error in pattern"


class DockerIgnore:
    """The rules of a .dockerignore file's text. Raises ValueError for a pattern that cannot be."""

    def __init__(self, text: str) -> None:
        self.rules: list[tuple[re.Pattern[str], bool]] = []
        self._below: dict[str, tuple[bool, ...]] = {}
        for line in text.removeprefix("\ufeff").split("\n"):
            pattern = line.strip()
            if not pattern or line.startswith("#"):
                continue
            keep = pattern.startswith("!")
            pattern = pattern.removeprefix("!").strip() if keep else pattern
            pattern = posixpath.normpath(pattern).strip().lstrip("/") if pattern else ""
            if pattern:
                self.rules.append((_expression(pattern), keep))
            elif keep:
                raise ValueError('illegal exclusion pattern: "!"')

    def excludes(self, path: str) -> bool:
        """Whether `path`, relative and with slashes, is left out."""
        return self._match(path)[0]

    def may_keep_below(self, directory: str) -> bool:
        """Whether a `!` rule might take back something below an excluded directory."""
        return any(keep for _, keep in self.rules) and bool(directory)

    def _match(self, path: str) -> tuple[bool, tuple[bool, ...]]:
        """Whether a path is left out, and the rules that hold for it and for all below it. One that would
        change nothing is not asked: it does not hold for what is below either."""
        parent = path.rpartition("/")[0]
        if parent and parent not in self._below:
            self._below[parent] = self._match(parent)[1]
        inherited = self._below[parent] if parent else (False,) * len(self.rules)
        excluded = False
        holds: list[bool] = []
        for (expression, keep), held in zip(self.rules, inherited, strict=True):
            held = held or (excluded == keep and expression.fullmatch(path) is not None)
            excluded = (not keep) if held else excluded
            holds.append(held)
        return excluded, tuple(holds)


def _expression(pattern: str) -> re.Pattern[str]:
    result, position = "", 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "*" and pattern.startswith("*", position):
            is_folders = pattern.startswith("*/", position)
            rest = pattern[position + 1 + is_folders :]
            # `**.go` at the beginning: what is plain after it may be the end of any path.
            is_ending = position == 1 and not is_folders and not re.search(r"[*?\[\\]", rest)
            result += ".*" if not rest or is_ending else "(?:.*/)?"
            position += 1 + is_folders
        elif char == "*":
            result += "[^/]*"
        elif char == "?":
            result += "[^/]"
        elif char == "[":
            text, position = _class(pattern, position)
            result += text
        elif char == "\\":
            char, position = _plain(pattern, position - 1)
            result += re.escape(char)
        else:
            result += re.escape(char)
    return re.compile(result, re.DOTALL)


def _class(pattern: str, position: int) -> tuple[str, int]:
    """`[a-z]` from behind its bracket: the regular expression, and where the pattern goes on. In Docker too
    `[^a]` stands for a slash, which no other wildcard but `**` does."""
    result = "["
    if pattern.startswith("^", position):
        result, position = result + "^", position + 1
    is_empty = True
    while is_empty or not pattern.startswith("]", position):
        low, position = _member(pattern, position)
        high = low
        if pattern.startswith("-", position):
            high, position = _member(pattern, position + 1)
        if high < low:
            raise ValueError(_BAD)
        result += f"{re.escape(low)}-{re.escape(high)}"
        is_empty = False
    return result + "]", position + 1


def _member(pattern: str, position: int) -> tuple[str, int]:
    if pattern.startswith(("-", "]"), position):
        raise ValueError(_BAD)
    return _plain(pattern, position)


def _plain(pattern: str, position: int) -> tuple[str, int]:
    """A character, or the one behind a backslash, and where the pattern goes on."""
    position += pattern.startswith("\\", position)
    if position >= len(pattern):
        raise ValueError(_BAD)
    return pattern[position], position + 1
