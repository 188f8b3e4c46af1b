"""Errors that know their place in a Dockerfile, and the marked excerpt that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from labkernel.engine.errors import InvalidParameter

_CONTEXT_LINES = 2


class DockerfileError(InvalidParameter):
    """A Dockerfile that cannot be read. Lines and columns count from 1; `column` is None for a whole line.

    `hint` ends with the excerpt, so that whoever shows the hint shows the place.
    """

    def __init__(
        self,
        message: str,
        *,
        line: int,
        end_line: int | None = None,
        column: int | None = None,
        width: int = 1,
        source: Sequence[str] = (),
        advice: str | None = None,
    ) -> None:
        self.line = line
        self.end_line = end_line or line
        self.column = column
        self.advice = advice
        self.excerpt = excerpt(source, line, self.end_line, column, width)
        super().__init__(message, hint="\n".join(part for part in (advice, self.excerpt) if part) or None)


def excerpt(source: Sequence[str], first: int, last: int, column: int | None = None, width: int = 1) -> str:
    """The lines `first`..`last` marked with `>`, their neighbours, and `^` below the column."""
    if not 1 <= first <= len(source):
        return ""
    last = min(max(first, last), len(source))
    start = max(1, first - _CONTEXT_LINES)
    end = min(len(source), last + _CONTEXT_LINES)
    digits = len(str(end))
    lines = []
    for number in range(start, end + 1):
        text = source[number - 1].rstrip("\r\n")
        mark = ">" if first <= number <= last else " "
        lines.append(f"{mark} {number:>{digits}} | {text}".rstrip())
        if number == first and column is not None:
            # Tabs are kept, so that the mark stays below its column however wide a tab is shown.
            indent = "".join("\t" if c == "\t" else " " for c in text[: column - 1])
            lines.append(f"  {'':{digits}} | {indent}{'^' * max(1, width)}")
    return "\n".join(lines)


def did_you_mean(word: str, known: Sequence[str]) -> str | None:
    """`did you mean FROM?` when one of the known words is near."""
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else None
