"""The picture of what containers wrote: a scrolling box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from labkernel.notebook.style import BOX, FAINT, LINE, MONOSPACE, MUTED, SHARED, WRITABLE, div, escape, span
from labkernel.notebook.views.log_lines import ERR, NOTE, Line
from labkernel.notebook.views.picture import Picture

_ERROR = "color:var(--jp-error-color1,#d32f2f)"


@dataclass(frozen=True)
class Source:
    """A container and its state: running, exited..., removed."""

    name: str
    state: str
    exit_code: int | None = None

    @property
    def status(self) -> str:
        return self.state if self.exit_code is None else f"{self.state} ({self.exit_code})"


@dataclass(repr=False)
class LogsPicture(Picture):
    """What `%logs` shows: the last lines of `sources`."""

    kind: ClassVar[str] = "logs"

    sources: Sequence[Source]
    lines: Sequence[Line]

    @property
    def text(self) -> str:
        shown = "\n".join(self._prefix(line) + line.text for line in self.lines)
        return shown or f"{', '.join(source.name for source in self.sources)}: nothing written yet"

    def _prefix(self, line: Line) -> str:
        return f"{self.sources[line.container].name}: " if len(self.sources) > 1 else ""

    def _repr_html_(self) -> str:
        titles = [
            span("margin-right:14px", f"<b>{escape(source.name)}</b> ", span(MUTED, escape(source.status)))
            for source in self.sources
        ]
        # Reversed columns are how a box is scrolled to its end without a script.
        box = f"display:flex;flex-direction:column-reverse;max-height:300px;overflow:auto;border:{LINE};"
        pre = f"margin:0;padding:4px 8px;{MONOSPACE};line-height:1.4"
        pre += ";white-space:pre-wrap;overflow-wrap:anywhere"
        lines = "\n".join(self._line(line) for line in self.lines) or span(MUTED, "nothing written yet")
        return div(
            f"{BOX};margin:6px 0",
            div("margin-bottom:3px", *titles),
            div(f"{box}border-radius:5px;background:{FAINT}", f'<pre style="{pre}">{lines}</pre>'),
        )

    def _line(self, line: Line) -> str:
        style = {ERR: _ERROR, NOTE: MUTED}.get(line.stream)
        prefix = self._prefix(line)
        colour = f"background:{(SHARED, WRITABLE)[line.container % 2]}"
        shown = span(colour, escape(prefix.strip())) + " " if prefix else ""
        return shown + (span(style, escape(line.text)) if style else escape(line.text))

    @property
    def data(self) -> dict[str, Any]:
        """Lines are arrays: number, container's index, stream, milliseconds since 1970, text."""
        return {
            "sources": [
                {"name": source.name, "state": source.state, "status": source.status}
                for source in self.sources
            ],
            "lines": [
                [line.number, line.container, line.stream, line.time // 10**6, line.text]
                for line in self.lines
            ],
        }
