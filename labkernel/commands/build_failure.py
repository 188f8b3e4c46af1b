"""Where a build failed: the lines of the Dockerfile with a mark, the exit code, the last of the output.

labkernel's engine sends it along with the error; of another engine's error it is made from what the client
knows: the Dockerfile's text, and the steps as they came.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labkernel.commands.results import BuildStep

_NEIGHBOURS = 2
_OUTPUT_LINES = 10
_WIDTH = 150
"""Characters of a line that plain text shows."""
_RED, _BOLD, _FAINT, _OFF = "\x1b[31m", "\x1b[1m", "\x1b[2m", "\x1b[0m"
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


@dataclass(frozen=True)
class SourceLine:
    """A line of a Dockerfile; `number` counts from 1. `is_failing`: it belongs to what failed."""

    number: int
    text: str
    is_failing: bool = False


@dataclass(frozen=True)
class Mark:
    """What a failure is about, inside a line: `column` counts from 1, `width` in characters."""

    line: int
    column: int
    width: int


@dataclass(frozen=True)
class BuildFailure:
    """`dockerfile` is its name, `line` where the failing instruction begins. Numbers may have gaps."""

    dockerfile: str
    line: int
    lines: Sequence[SourceLine] = ()
    mark: Mark | None = None
    exit_code: int | None = None
    meaning: str = ""
    output: Sequence[str] = ()
    is_trigger: bool = False

    @property
    def heading(self) -> str:
        if self.is_trigger:
            return "ONBUILD of the base image"
        return f"{self.dockerfile}:{self.line}" if self.line else self.dockerfile

    @property
    def verdict(self) -> str:
        """ "exit code 127: command not found"; "" for what was no command."""
        if self.exit_code is None:
            return ""
        return f"exit code {self.exit_code}" + (f": {self.meaning}" if self.meaning else "")

    def text(self, *, in_colours: bool = False) -> str:
        """All of it as plain lines."""
        red, bold, faint, off = (_RED, _BOLD, _FAINT, _OFF) if in_colours else ("", "", "", "")
        found: list[str] = []
        if self.lines:
            found.append(f"{bold}{self.heading}{off}")
            found += self._excerpt(red, faint, off)
        if self.verdict:
            found.append(f"{bold}{self.verdict}{off}")
        if self.output:
            found.append("the last lines of its output:")
            found += [f"  {faint}|{off} {line}" for line in self.output[-_OUTPUT_LINES:]]
        return "\n".join(found)

    def _excerpt(self, red: str, faint: str, off: str) -> Iterator[str]:
        digits = len(str(self.lines[-1].number))
        before = self.lines[0].number - 1
        for line in self.lines:
            if line.number != before + 1:
                yield f"{'':{digits + 1}} {faint}:{off}"
            before = line.number
            number = f"{faint}{line.number:>{digits + 2}} |{off}"
            sign = f"{red}>>>{off}" if line.is_failing else "   "
            is_marked = self.mark is not None and self.mark.line == line.number
            before_mark = line.text[: self.mark.column - 1] if self.mark and is_marked else ""
            text, before_mark = _shortened(line.text, before_mark)
            yield f"{number} {sign} {text}".rstrip()
            if self.mark and is_marked:
                # Tabs are kept, so that the mark stays below its column however wide a tab is shown.
                indent = re.sub(r"[^\t]", " ", before_mark)
                yield f"{'':{digits + 2}} {faint}|{off}     {indent}{red}{'^' * self.mark.width}{off}"


def _shortened(text: str, before: str) -> tuple[str, str]:
    """A line that a terminal has room for, and what of it stands `before` the mark."""
    if len(text) <= _WIDTH:
        return text, before
    start = max(0, len(before) - _WIDTH // 2)
    ahead, behind = "…" if start else "", "…" if start + _WIDTH < len(text) else ""
    return f"{ahead}{text[start : start + _WIDTH]}{behind}", ahead + before[start:]


def from_engine(data: Mapping[str, Any], dockerfile: str) -> BuildFailure:
    """What labkernel's engine says of a failure."""
    first, last = data.get("line", 0), data.get("endLine", 0)
    mark = data.get("mark")
    return BuildFailure(
        dockerfile,
        first,
        [SourceLine(e["number"], e["text"], first <= e["number"] <= last) for e in data.get("lines", ())],
        Mark(mark["line"], mark["column"], mark["width"]) if mark else None,
        data.get("exitCode"),
        data.get("meaning") or "",
        data.get("output") or (),
        data.get("isTrigger", False),
    )


def guessed(
    message: str, code: int, dockerfile: str, text: str, steps: Sequence[BuildStep]
) -> BuildFailure | None:
    """What can be known of a failure from an engine's message (its words are Docker's), the Dockerfile's text
    and the steps that it began; None if that is nothing."""
    source = text.splitlines()
    named = re.search(r"\bline (\d+)", message)
    word = re.search(r"unknown instruction: (\S+)", message, re.IGNORECASE)
    if named and 1 <= int(named[1]) <= len(source):
        first = last = int(named[1])
    elif steps:
        first, last = _lines_of(steps, source)
    else:
        return None
    is_run = "returned a non-zero code: " in message
    output = (
        _CONTROL.sub("", steps[-1].output).strip("\n").splitlines()[-_OUTPUT_LINES:]
        if is_run and steps
        else []
    )
    mark = None
    if word and (at := source[first - 1].lower().find(word[1].lower())) >= 0:
        mark = Mark(first, at + 1, len(word[1]))
    lines = excerpt(source, first, last) if first else []
    if not lines and not is_run:
        return None
    return BuildFailure(dockerfile, first, lines, mark, code if is_run else None, "", output)


def excerpt(source: Sequence[str], first: int, last: int) -> list[SourceLine]:
    """The lines `first`..`last`, as those that fail, with their neighbours."""
    shown = range(max(1, first - _NEIGHBOURS), min(len(source), last + _NEIGHBOURS) + 1)
    return [SourceLine(n, source[n - 1], first <= n <= last) for n in shown]


def instruction_end(source: Sequence[str], first: int) -> int:
    """The last line of the instruction that begins at a line: those that end with a backslash go on,
    comments between them too."""
    last = first
    while last < len(source):
        text = source[last - 1]
        is_comment = last > first and text.lstrip().startswith("#")
        if not is_comment and not text.rstrip().endswith("\\"):
            break
        last += 1
    return last


def _lines_of(steps: Sequence[BuildStep], source: Sequence[str]) -> tuple[int, int]:
    """The first and last line of the last step; (0, 0) if it is not found. Steps are shown with their
    continued lines joined, so each is looked for behind the one before it."""
    position, found = 0, (0, 0)
    for step in steps:
        found = (0, 0)
        for first in range(position, len(source)):
            last = instruction_end(source, first + 1)
            lines = [line for line in source[first:last] if not line.lstrip().startswith("#")]
            joined = "".join(line.rstrip().removesuffix("\\") for line in lines)
            if joined.split() == step.instruction.split():
                position, found = last, (first + 1, last)
                break
    return found
