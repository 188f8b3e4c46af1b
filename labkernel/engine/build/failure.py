"""A failed build as data: the lines of the Dockerfile, the mark, the exit code, the last of the output.

The API gives it as `failure`, a field of ours beside `hint`; Docker's own message stays as it is:

    {"line": 3, "endLine": 5,            the failing instruction
     "lines": [                          it and its neighbours; of a long one the middle is left out
       {"number": 1, "text": "FROM x"}, ...],
     "mark": {                           what it is about, where that is known
       "line": 4, "column": 9, "width": 3},
     "instruction": "RUN",
     "isTrigger": true,                  the lines are those of a trigger (ONBUILD) of the base image
     "exitCode": 127,                    of a RUN
     "meaning": "command not found",
     "output": ["...", ...]}             its last lines

Lines and columns count from 1, columns in characters.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from typing import Any

FAILURE = "failure"
"""The name of the field."""

_NEIGHBOURS = 2
_MOST_LINES = 20
"""Lines of an instruction that are shown; a longer one keeps its beginning, its end, and what is marked."""
_OUTPUT_LINES = 15
_OUTPUT_WIDTH = 500
_TEXT_WIDTH = 2000
"""Characters of a line that are given: there are files with everything in one line."""
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # ECMA-48: colours and the like

_MEANINGS = {
    126: "found, but it cannot be executed",
    127: "command not found",
    130: "interrupted (signal 2)",
    132: "illegal instruction: made for another processor (signal 4)",
    134: "the program gave up (signal 6)",
    135: "bus error (signal 7)",
    137: "killed (signal 9), most often for want of memory",
    139: "segmentation fault (signal 11)",
    141: "wrote to a pipe that nobody reads (signal 13)",
    143: "asked to end (signal 15)",
}


def meaning(code: int) -> str | None:
    """What an exit code says; None where it is the program's own affair."""
    if code in _MEANINGS:
        return _MEANINGS[code]
    try:
        return f"ended by signal {code - 128}, {signal.Signals(code - 128).name}"
    except ValueError:
        return None


def place(
    source: Sequence[str], first: int, last: int, marked_line: int, column: int | None = None, width: int = 1
) -> dict[str, Any]:
    """The lines `first`..`last` with their neighbours, and the mark where a column is known. {} without
    source."""
    if not 1 <= first <= len(source):
        return {}
    last = min(max(first, last), len(source))
    numbers = range(max(1, first - _NEIGHBOURS), min(len(source), last + _NEIGHBOURS) + 1)
    found: dict[str, Any] = {
        "line": first,
        "endLine": last,
        "lines": [{"number": n, "text": _text(source[n - 1])} for n in numbers],
    }
    if column is not None:
        found["mark"] = {"line": marked_line, "column": column, "width": max(1, width)}
    return found


def marked(failure: dict[str, Any], word: str) -> None:
    """Move the mark to a word of the failing instruction, if it is there as a word of its own."""
    if not word:
        return
    pattern = re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])" if word[0].isalnum() else re.escape(word))
    for line in failure.get("lines", ()):
        if failure["line"] <= line["number"] <= failure["endLine"]:
            # Of several the last one: the first are often of another command.
            at = [found.start() for found in pattern.finditer(line["text"])]
            if at:
                failure["mark"] = {"line": line["number"], "column": at[-1] + 1, "width": len(word)}
                return


def shortened(failure: dict[str, Any]) -> None:
    """Leave out the middle of a long instruction, but for what is around the mark."""
    first, last = failure.get("line", 0), failure.get("endLine", 0)
    if last - first < _MOST_LINES:
        return
    part = _MOST_LINES // 4
    mark = failure["mark"]["line"] if "mark" in failure else first
    shown = {*range(first + part), *range(mark - part, mark + part), *range(last - part + 1, last + 1 + part)}
    failure["lines"] = [line for line in failure["lines"] if line["number"] in shown]


def last_lines(output: str) -> list[str]:
    """The last lines that a command wrote, as a terminal would show them: without colours and overwriting."""
    lines = [line.rstrip().rpartition("\r")[2] for line in _CONTROL.sub("", output).split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return [line[:_OUTPUT_WIDTH] for line in lines[-_OUTPUT_LINES:]]


def _text(line: str) -> str:
    return line.rstrip("\r\n")[:_TEXT_WIDTH]
