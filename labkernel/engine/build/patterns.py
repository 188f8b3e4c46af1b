"""Wildcards of COPY, ADD and .dockerignore as regular expressions.

Source: pkg.go.dev/path/filepath#Match.
"""

from __future__ import annotations

import re


def expression(pattern: str, *, any_depth: bool = False) -> re.Pattern[str]:
    """`*`, `?`, `[a-z]`, `[^x]` and backslashes; with `any_depth` also `**`. Use `fullmatch`.

    Raises ValueError for an open bracket or a final backslash.
    """
    result: list[str] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if any_depth and character == "*" and pattern.startswith("*", position):
            is_first = position == 1
            position += 2 if pattern.startswith("*/", position) else 1
            rest = pattern[position:]
            # `**/` is any number of folders, none too; `**` at the end is everything, and so it is before a
            # plain text that ends the pattern: `**.go`.
            is_ending = is_first and pattern[2:3] != "/" and not re.search(r"[*?\[\\]", rest)
            result.append(".*" if not rest or is_ending else "(?:.*/)?")
        elif character == "*":
            result.append("[^/]*")
        elif character == "?":
            result.append("[^/]")
        elif character == "[":
            text, position = _character_class(pattern, position)
            # Docker's .dockerignore lets `[^a]` stand for a slash; COPY does not.
            result.append(text if any_depth else "(?!/)" + text)
        elif character == "\\":
            if position == len(pattern):
                raise ValueError("syntax error in pattern")
            result.append(re.escape(pattern[position]))
            position += 1
        else:
            result.append(re.escape(character))
    return re.compile("".join(result), re.DOTALL)


def has_wildcards(path: str) -> bool:
    return re.search(r"(?:\A|[^\\])(?:\\\\)*[*?\[]", path) is not None


def _character_class(pattern: str, position: int) -> tuple[str, int]:
    """A class from behind its bracket; the regular expression, and where the pattern goes on."""
    result = "["
    if pattern.startswith("^", position):
        result += "^"
        position += 1
    empty = True
    while empty or not pattern.startswith("]", position):
        low, position = _class_member(pattern, position)
        high = low
        if pattern.startswith("-", position):
            high, position = _class_member(pattern, position + 1)
        if high < low:
            raise ValueError("syntax error in pattern")
        result += re.escape(low) + "-" + re.escape(high)
        empty = False
    return result + "]", position + 1


def _class_member(pattern: str, position: int) -> tuple[str, int]:
    escaped = pattern.startswith("\\", position)
    position += escaped
    if position >= len(pattern) or (not escaped and pattern[position] in "-]"):
        raise ValueError("syntax error in pattern")
    return pattern[position], position + 1
