"""Errors that know their place in a Dockerfile."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from labkernel.engine.build.failure import FAILURE, place
from labkernel.engine.errors import InvalidParameter


class DockerfileError(InvalidParameter):
    """A Dockerfile that cannot be read. Lines and columns count from 1; `column` is None for a whole line.

    `marked_line` is the line that the column is in, `line` unless given.
    """

    def __init__(
        self,
        message: str,
        *,
        line: int,
        end_line: int | None = None,
        marked_line: int | None = None,
        column: int | None = None,
        width: int = 1,
        source: Sequence[str] = (),
        advice: str | None = None,
    ) -> None:
        super().__init__(message, hint=advice)
        self.line = line
        self.end_line = end_line or line
        self.column = column
        if found := place(source, line, self.end_line, marked_line or line, column, width):
            self.details[FAILURE] = found


def did_you_mean(word: str, known: Sequence[str]) -> str | None:
    """`did you mean FROM?` when one of the known words is near."""
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else None
