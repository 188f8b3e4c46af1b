"""How a report of checks looks: as text for a terminal and as HTML below a cell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import indent

from labkernel.commands import Result
from labkernel.course import Check, Checked, Report
from labkernel.course.outcome import Outcome
from labkernel.notebook.style import (
    BOX,
    FAILED,
    FAINT,
    MONOSPACE,
    MUTED,
    SHARED,
    WRITABLE,
    div,
    escape,
    frame,
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
        """Such as "01-web-base: 2 of 5 checks passed, 3 of 10 points"."""
        checks = self.report.checks
        text = f"{self.report.exercise}: {_number(checks, 'pass')} of {len(checks)} checks passed"
        if most := self.report.max_points:
            text += f", {sum(checked.points or 0 for checked in checks):g} of {most:g} points"
        unknown = _number(checks, "error")
        return text + (f"; {unknown} could not be checked, which is not your doing" if unknown else "")

    @property
    def text(self) -> str:
        rows = [_row_text(checked, self._hints(checked)) for checked in self._checks()]
        return "\n".join([*rows, *([self.verdict] if len(rows) != 1 else [])])

    def _repr_html_(self) -> str:
        rows = [_row_html(checked, self._hints(checked)) for checked in self._checks()]
        mark = "✔ " if self.report.passed else ""
        verdict = div("margin:5px 0 2px 0", mark, escape(self.verdict)) if len(rows) != 1 else ""
        return div(BOX, _list(rows), verdict)

    def _checks(self) -> Iterator[Checked]:
        """Of errors with the same message, as of an engine that does not answer, the first one has it."""
        said = set()
        for checked in self.report.checks:
            again = checked.outcome == "error" and checked.message in said
            said.add(checked.message)
            yield replace(checked, message="") if again else checked

    def _hints(self, checked: Checked) -> list[str]:
        shown = checked.hints[: self.hints.get(checked.name, 0)]
        return [f"hint {number} of {len(checked.hints)}: {hint}" for number, hint in enumerate(shown, 1)]


def running_text(check: Check, done: Sequence[Checked]) -> str:
    """The checks that are done, and the one under way."""
    return "\n".join(
        [*(_row_text(checked, []) for checked in done), f"▶ {check.name}: {_first(check.title)}"]
    )


def running_html(check: Check, done: Sequence[Checked]) -> str:
    """The same as HTML."""
    rows = [_row_html(checked, []) for checked in done]
    return div(BOX, _list([*rows, _row(FAINT, "▶", check.title, check.name, "", [])]))


def _row_text(checked: Checked, hints: Sequence[str]) -> str:
    points = _points(checked)
    end = f" ({points})" if points else ""
    lines = [f"{MARKS[checked.outcome]} {checked.name}: {_statement(checked)}{end}"]
    return "\n".join([*lines, *(indent(text, _INDENT) for text in (checked.message, *hints) if text)])


def _row_html(checked: Checked, hints: Sequence[str]) -> str:
    below = [div("white-space:pre-wrap;margin:2px 0", prose(checked.message))] if checked.message else []
    style = f"white-space:pre-wrap;margin:3px 0;padding:2px 8px;background:{FAINT}"
    below += [div(style, prose(hint)) for hint in hints]
    colour, mark = _COLOURS[checked.outcome], MARKS[checked.outcome]
    return _row(colour, mark, _statement(checked), checked.name, _points(checked), below)


def _row(colour: str, mark: str, title: str, name: str, points: str, below: Sequence[str]) -> str:
    first = div(
        "display:flex;gap:10px;align-items:baseline",
        span(f"flex:0 0 14px;font-weight:bold;color:{colour if colour != FAINT else 'inherit'}", mark),
        span("flex:1 1 auto;min-width:0", prose(_first(title))),
        span(f"flex:0 0 auto;{MONOSPACE};{MUTED}", escape(name)),
        span(f"flex:0 0 78px;text-align:right;white-space:nowrap;{MUTED}", escape(points)),
    )
    rest = div("padding-left:24px", *below) if below else ""
    return div(
        f"padding:4px 10px;border-left:4px solid {colour};border-bottom:1px solid {FAINT}", first, rest
    )


def _list(rows: Sequence[str]) -> str:
    return frame(*rows)


def prose(text: str) -> str:
    """HTML of a sentence in which `code` stands between backticks."""
    parts = re.split(r"`([^`\n]+)`", text)
    return "".join(
        f"<code>{escape(part)}</code>" if number % 2 else escape(part) for number, part in enumerate(parts)
    )


def _statement(checked: Checked) -> str:
    """What the check states; where it is not so, not as if it were."""
    return f"{'Not yet: ' if checked.outcome == 'fail' else ''}{_first(checked.title)}"


def _first(title: str) -> str:
    return title.splitlines()[0]


def _points(checked: Checked) -> str:
    """Such as "2/3 points", "?/3 points" for what could not be checked; "" for what is worth nothing."""
    if not checked.max_points:
        return ""
    points = "?" if checked.points is None else f"{checked.points:g}"
    return f"{points}/{checked.max_points:g} {'point' if checked.max_points == 1 else 'points'}"


def _number(checks: Sequence[Checked], outcome: Outcome) -> int:
    return sum(checked.outcome == outcome for checked in checks)
