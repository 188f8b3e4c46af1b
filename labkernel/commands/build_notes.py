"""Notes on a Dockerfile, by line: the engine's warnings, wasted bytes, hadolint's findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkernel.commands.build_explanation import Explanation, waste_line
from labkernel.commands.build_failure import BuildFailure, SourceLine, excerpt, instruction_end
from labkernel.commands.hadolint import SYNTAX, Finding
from labkernel.commands.units import human_size

_OUTLINE = "labkernel.outline"


@dataclass(frozen=True)
class Note:
    """`kind` is "warning", "waste" or "lint"; `code` and `link` are of a finding."""

    line: int
    kind: str
    text: str
    code: str = ""
    link: str = ""


@dataclass
class BuildNotes:
    """What is to be said of the lines of a Dockerfile. False for nothing."""

    dockerfile: str = "Dockerfile"
    text: str = ""
    notes: list[Note] = field(default_factory=list)
    wasted: int = 0
    """Bytes."""
    _steps: Sequence[Sequence[int] | None] = ()

    def __bool__(self) -> bool:
        return bool(self.notes)

    def add(self, aux: Mapping[str, Any]) -> None:
        """Take an `aux` object of the stream; others than ours are passed over."""
        if found := aux.get(_OUTLINE):
            self._steps = found["steps"]
            self._keep(Note(warning["line"], "warning", warning["message"]) for warning in found["warnings"])

    def finish(self, explanation: Explanation, findings: Sequence[Finding]) -> None:
        """The build is over: what it wasted, and hadolint's findings."""
        for waste in explanation.waste:
            step = waste["step"]
            lines = self._steps[step - 1] if 1 <= step <= len(self._steps) else None
            if lines:
                self.wasted += waste["size"]
                self._keep([Note(lines[0], "waste", waste_line(waste, with_step=False))])
        self._keep(
            Note(finding.line, "lint", finding.message, finding.code, finding.link)
            for finding in findings
            if finding.code != SYNTAX
        )

    def _keep(self, notes: Any) -> None:
        last = len(self.text.splitlines())
        self.notes += [note for note in notes if 1 <= note.line <= last]

    @property
    def summary(self) -> str:
        """ "1 warning, 5kB wasted, 4 findings of hadolint"."""
        warnings = sum(note.kind == "warning" for note in self.notes)
        findings = sum(note.kind == "lint" for note in self.notes)
        said = [
            f"{warnings} warning{'s' if warnings > 1 else ''}" if warnings else "",
            f"{human_size(self.wasted)} wasted" if self.wasted else "",
            f"{findings} finding{'s' if findings > 1 else ''} of hadolint" if findings else "",
        ]
        return ", ".join(part for part in said if part)

    @property
    def warnings(self) -> list[str]:
        """A line for each warning, for plain text."""
        return [f"line {note.line}: {note.text}" for note in self.notes if note.kind == "warning"]

    @property
    def lines(self) -> list[SourceLine]:
        """The instructions that there are notes on; numbers may have gaps."""
        source = self.text.splitlines()
        shown = {
            number
            for note in self.notes
            for number in range(note.line, instruction_end(source, note.line) + 1)
        }
        return [SourceLine(number, source[number - 1]) for number in sorted(shown)]


def check_text(name: str, text: str, findings: Sequence[Finding]) -> str:
    """Findings as `docker build --check` of BuildKit prints its own."""
    if not findings:
        return "Check complete, no warnings found."
    count = len(findings)
    said = [f"Check complete, {count} warning{'s have' if count > 1 else ' has'} been found!"]
    source = text.splitlines()
    for finding in findings:
        lines = excerpt(source, finding.line, instruction_end(source, finding.line))
        rule = "-" * 20
        place = BuildFailure(name, finding.line, lines).text().partition("\n")[2]
        level = "ERROR" if finding.level == "error" else "WARNING"
        said += [
            "",
            f"{level}: {finding.code} - {finding.link}",
            finding.message,
            f"{name}:{finding.line}",
            rule,
            place,
            rule,
        ]
    return "\n".join(said)
