"""Lines that containers wrote, from the bytes of GET /containers/{id}/logs to what may be shown.

What containers write is not trusted: control characters go, and a line and all lines have a limit.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

LONGEST = 2_000
"""Characters of a line that are kept."""
KEPT = 200_000
"""Characters of all lines that are kept: what one picture of them may weigh."""
_LONGEST_BYTES = 4 * LONGEST + 64

OUT, ERR, NOTE = "out", "err", "note"

_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movements
    r"|\x1b[\]PX^_].*?(?:\x1b\\|\x07|$)"  # OSC, DCS and the like: titles, links
    r"|\x1b[ -/]*[0-~]?"
)
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f"
    "\u200e\u200f\u2028-\u202e\u2066-\u2069]"  # what turns the order of characters around, or breaks lines
)


@dataclass(frozen=True)
class Line:
    """`number` counts the lines of a view; `container` is an index; `stream` OUT, ERR, or NOTE for ours.

    `time` is in nanoseconds since 1970.
    """

    number: int
    container: int
    stream: str
    time: int
    text: str


@dataclass(frozen=True)
class Written:
    """A line as the engine gave it: which stream, when (nanoseconds since 1970), what."""

    stream: str
    time: int
    text: str


def clean(text: str) -> str:
    """The text as a reader may see it: without colours, and without what a carriage return wrote over."""
    text = text.rstrip("\r").rpartition("\r")[2]
    text = _CONTROL.sub("", _SEQUENCE.sub("", text).expandtabs())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


class Splitter:
    """Puts the pieces of a log that was asked for with timestamps together into lines."""

    def __init__(self) -> None:
        self._rest = {1: b"", 2: b""}

    def feed(self, stream: int, data: bytes) -> Iterator[Written]:
        """The lines that are complete now; `stream` is 2 for stderr, anything else is stdout."""
        stream = 2 if stream == 2 else 1
        *lines, rest = (self._rest[stream] + data).split(b"\n")
        self._rest[stream] = rest[:_LONGEST_BYTES]  # of a line without an end, its beginning
        for line in lines:
            written = read_line(stream, line[:_LONGEST_BYTES])
            if written:
                yield written


def read_line(stream: int, line: bytes) -> Written | None:
    """A line "2026-01-31T12:00:00.123456789Z text"; None where there is no time before it."""
    moment, _, text = line.decode("utf-8", "replace").partition(" ")
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", moment)
    if not match:
        return None
    try:
        seconds = int(datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None
    nanoseconds = int((match[2] or "").ljust(9, "0"))
    return Written(ERR if stream == 2 else OUT, seconds * 10**9 + nanoseconds, clean(text))


class Lines:
    """The last lines of some containers, `most` of them, for one writer each and one reader."""

    def __init__(self, most: int) -> None:
        self._lines: deque[Line] = deque()
        self._most = most
        self._size = 0
        self._count = 0
        self._lock = threading.Lock()

    def add(self, container: int, written: Iterable[Written]) -> None:
        with self._lock:
            for line in written:
                self._count += 1
                self._lines.append(Line(self._count, container, line.stream, line.time, line.text))
                self._size += len(line.text)
                while len(self._lines) > self._most or self._size > KEPT:
                    self._size -= len(self._lines.popleft().text)

    def all(self) -> list[Line]:
        with self._lock:
            return list(self._lines)
