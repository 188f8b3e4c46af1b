"""Where commands write in a notebook: the cell's streams, and lines of progress that change in place."""

from __future__ import annotations

import codecs
import sys
from typing import BinaryIO, TextIO

from labkernel.commands import Terminal
from labkernel.notebook.live import Live
from labkernel.notebook.style import scrolling

MOST_LINES = 5_000
MOST_CHARACTERS = 400_000
"""Per cell. A browser keeps every line it was sent, and the server drops what comes faster than 1 MB/s."""


class CellConsole:
    """The Console of one command. `close` it when the command has ended.

    `live` says that the frontend can replace an output (a notebook, not IPython in a terminal).
    """

    def __init__(self, *, live: bool, stdin: BinaryIO | None = None) -> None:
        self.stdin = stdin
        self.terminal: Terminal | None = None
        self._live = live
        self._decoders = {False: _decoder(), True: _decoder()}
        self._lines_left = MOST_LINES
        self._characters_left = MOST_CHARACTERS
        self._group: _Progress | None = None

    def write(self, data: bytes) -> None:
        self._stream(data, error=False)

    def write_error(self, data: bytes) -> None:
        self._stream(data, error=True)

    def note(self, data: bytes) -> None:
        self._stream(data, error=False)  # a notebook shows standard error in red, as if it were a failure

    def _stream(self, data: bytes, *, error: bool) -> None:
        text = self._decoders[error].decode(data)
        if not text or self._lines_left <= 0 or self._characters_left <= 0:
            return
        shown = text[: self._characters_left]
        lines = shown.splitlines(keepends=True)
        if len(lines) > self._lines_left:
            shown = "".join(lines[: self._lines_left])
        self._characters_left -= len(shown)
        self._lines_left -= shown.count("\n")
        out: TextIO = sys.stderr if error else sys.stdout
        out.write(shown)
        out.flush()
        if self._lines_left <= 0 or self._characters_left <= 0:
            sys.stderr.write(
                "\nlabkernel: more than a cell can show: the rest is left out here, the command runs on\n"
                "hint: interrupt the cell to stop it; `%container logs --tail 20 NAME` shows the last lines\n"
            )
            sys.stderr.flush()

    def progress(self, key: str, text: str) -> None:
        if not self._live:
            return
        if self._group is None:
            self._group = _Progress()
        self._group.lines[key] = text

    def progress_done(self) -> None:
        if self._group is not None:
            self._group.close()
            self._group = None

    def close(self) -> None:
        """The command has ended, well or not."""
        self.progress_done()
        for error, decoder in self._decoders.items():
            rest = decoder.decode(b"", final=True)
            if rest:
                (sys.stderr if error else sys.stdout).write(rest)


class _Progress:
    """A group of lines, each replaced in place."""

    def __init__(self) -> None:
        self.lines: dict[str, str] = {}
        self._display = Live(self._render)
        self._display.start()

    def _render(self) -> tuple[str, str]:
        text = "\n".join(list(self.lines.values()))
        return text, scrolling(text) if text else ""

    def close(self) -> None:
        self._display.finish()


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")(errors="replace")
