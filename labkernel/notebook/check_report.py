"""How a report of checks looks: as text for a terminal and as HTML below a cell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import indent

from labkernel.commands import Result
from labkernel.course import Checked, Report
from labkernel.notebook.style import (
    BOX,
    FAILED,
    FAINT,
    LINE,
    MONOSPACE,
    MUTED,
    SHARED,
    WRITABLE,
    div,
    escape,
    span,
)

MARKS = {"pass": "✔", "fail": "✘", "skipped": "\N{EN DASH}", "error": "!"}
_COLOURS = {"pass": SHARED, "fail": FAILED, "skipped": FAINT, "error": WRITABLE}
_INDENT = "    "


@dataclass(repr=False)
class CheckReport(Result):
    """What `%check` and `labkernel check` show. `hints` says of each check how many of its hints to show."""

    report: Report
    hints: Mapping[str, int]

    def __post_init__(self) -> None:
        self.exit_code = self.report.exit_code

    @property
    def verdict(self) -> str:
        """Such as "01-web-base: 2 of 5 checks pass, 3 of 10 points"."""
        checks = self.report.checks
        passed = sum(checked.outcome == "pass" for checked in checks)
        text = f"{self.report.exercise}: {passed} of {len(checks)} {_counted('check', len(checks))} pass"
        most = sum(checked.max_points for checked in checks)
        if most:
            text += f", {sum(checked.points or 0 for checked in checks):g} of {most:g} points"
        return text

    @property
    def text(self) -> str:
        return "\n".join([self.verdict, "", *map(self._text, self.report.checks)])

    def _text(self, checked: Checked) -> str:
        lines = [f"{MARKS[checked.outcome]} {_points(checked):>7}  {checked.name}: {_title(checked)}"]
        lines += [indent(line, _INDENT) for line in (checked.message, *self._hints(checked)) if line]
        return "\n".join(lines)

    def _hints(self, checked: Checked) -> list[str]:
        shown = checked.hints[: self.hints.get(checked.name, 0)]
        return [f"hint {number} of {len(checked.hints)}: {hint}" for number, hint in enumerate(shown, 1)]

    def _repr_html_(self) -> str:
        rows = [self._row(checked) for checked in self.report.checks]
        mark = "✔ " if self.report.passed else ""
        return div(
            BOX,
            div(f"border:{LINE};border-radius:5px;overflow:hidden", *rows),
            div("margin:5px 0 2px 0", mark, escape(self.verdict)),
        )

    def _row(self, checked: Checked) -> str:
        below = [
            div("white-space:pre-wrap;margin:2px 0", prose(checked.message)) if checked.message else "",
            *(
                div(f"white-space:pre-wrap;margin:3px 0;padding:2px 8px;background:{FAINT}", prose(hint))
                for hint in self._hints(checked)
            ),
        ]
        first = div(
            "display:flex;gap:10px;align-items:baseline",
            span("flex:0 0 14px;font-weight:bold", MARKS[checked.outcome]),
            span("flex:1 1 auto;min-width:0", prose(_title(checked))),
            span(f"flex:0 0 auto;{MONOSPACE};{MUTED}", escape(checked.name)),
            span(f"flex:0 0 56px;text-align:right;white-space:nowrap;{MUTED}", escape(_points(checked))),
        )
        rest = div("padding-left:24px", *below) if any(below) else ""
        colour = _COLOURS[checked.outcome]
        return div(
            f"padding:4px 10px;border-left:4px solid {colour};border-bottom:1px solid {FAINT}", first, rest
        )


def prose(text: str) -> str:
    """HTML of a sentence in which `code` stands between backticks."""
    parts = re.split(r"`([^`\n]+)`", text)
    return "".join(
        f"<code>{escape(part)}</code>" if number % 2 else escape(part) for number, part in enumerate(parts)
    )


def _title(checked: Checked) -> str:
    return checked.title.splitlines()[0]


def _points(checked: Checked) -> str:
    """Such as 2/3; ?/3 for what could not be checked; nothing for what is worth nothing."""
    if not checked.max_points:
        return ""
    return f"{'?' if checked.points is None else f'{checked.points:g}'}/{checked.max_points:g}"


def _counted(word: str, number: int) -> str:
    return word if number == 1 else f"{word}s"
