"""The console of a build in a notebook: what docker build prints becomes a list of steps."""

from __future__ import annotations

import codecs
import sys
import time
from typing import BinaryIO

from labkernel.commands import CommandError, Terminal
from labkernel.notebook.build_report import BuildReport, failed_html, failed_text, running_html, running_text
from labkernel.notebook.build_stream import BuildStream
from labkernel.notebook.live import Live


class BuildConsole:
    """A Console that reads the steps of a build and, where the frontend is `live`, shows them in place.

    Elsewhere the build's text is printed as it comes. End it with `finish` or `fail`.
    """

    def __init__(self, *, live: bool, stdin: BinaryIO | None = None) -> None:
        self.stdin = stdin
        self.terminal: Terminal | None = None
        self.stream = BuildStream()
        self._started = time.monotonic()
        self._progress: dict[str, str] = {}
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._display = Live(self._render) if live else None
        if self._display:
            self._display.start()

    @property
    def seconds(self) -> float:
        """Time since the build began."""
        return time.monotonic() - self._started

    def write(self, data: bytes) -> None:
        text = self._decoder.decode(data)
        self.stream.feed(text)
        if not self._display:
            sys.stdout.write(text)
            sys.stdout.flush()

    def write_error(self, data: bytes) -> None:
        self.write(data)

    def note(self, data: bytes) -> None:
        self.write(data)

    def progress(self, key: str, text: str) -> None:
        self._progress[key] = text

    def progress_done(self) -> None:
        self._progress = {}

    def _render(self) -> tuple[str, str]:
        under_way = list(self._progress.values())
        return running_text(self.stream, under_way), running_html(self.stream, under_way)

    def finish(self, report: BuildReport) -> None:
        """The build went well: the report takes the place of the steps."""
        if self._display:
            self._display.finish((report.text, report._repr_html_()))
            report.is_shown = True

    def fail(self, error: BaseException) -> None:
        """The build ended early: the steps stay, with where it failed and what to do about it."""
        self.stream.finish()
        if self._display:
            known = error if isinstance(error, CommandError) else None
            shown = known if known and (known.failure or self.stream.steps) else None
            self._display.finish((failed_text(self.stream, shown), failed_html(self.stream, shown)))
            if shown:
                shown.is_shown = True
