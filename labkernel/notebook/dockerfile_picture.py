"""Lines of a Dockerfile as HTML: numbered, what fails marked, notes below the line that they concern."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from labkernel.commands.build_failure import BuildFailure, Mark, SourceLine, instruction_end
from labkernel.commands.build_notes import BuildNotes, Note
from labkernel.notebook.style import LINE, MONOSPACE, MUTED, div, escape, scrolling, span

_RED = "rgb(229,57,53)"
_FAILING = "rgba(229,57,53,.13)"
_HINT = "rgba(33,150,243,.13)"
_BLUE = "rgb(33,150,243)"
_AMBER = "rgb(255,152,0)"
_PROSE = "font-family:var(--jp-ui-font-family,system-ui,sans-serif)"
_OUTPUT_LINES = 12
_GAP = "⋮"


def failure_html(failure: BuildFailure | None, message: str, hint: str | None) -> str:
    """What went wrong, where, the last of the output, and what to do."""
    said = (failure.verdict if failure else "") or message.removeprefix("Error response from daemon: ")
    head = div(
        "display:flex;gap:10px;align-items:baseline;padding:5px 10px",
        span(f"color:{_RED};font-weight:bold", "✘"),
        span("flex:1 1 auto;min-width:0;font-weight:600;overflow-wrap:anywhere", escape(said)),
        span(f"flex:none;{MUTED}", escape(failure.heading)) if failure and failure.line else "",
    )
    lines = source_html(failure.lines, failure.mark) if failure else ""
    output = ""
    if failure and failure.output:
        shown = "\n".join(failure.output[-_OUTPUT_LINES:])
        output = div(
            f"padding:4px 10px 2px 10px;border-top:{LINE}",
            div(f"font-size:11.5px;{MUTED}", "the last lines of its output"),
            scrolling(shown, at_end=True),
        )
    advice = ""
    if hint:
        advice = div(
            f"padding:6px 10px;background:{_HINT};border-left:4px solid {_BLUE};overflow-wrap:anywhere",
            span("font-weight:600", "Hint: "),
            escape(hint),
        )
    return div(
        f"margin:6px 0 2px 0;border:{LINE};border-left:4px solid {_RED};border-radius:5px;overflow:hidden",
        *(head, lines, output, advice),
    )


def notes_html(notes: BuildNotes) -> str:
    """The lines that there is something to say about, each note below its line. Folded, where all that is
    said is hadolint's: a beginner's build went well, and that comes first."""
    below: dict[int, list[str]] = {}
    source = notes.text.splitlines()
    for note in notes.notes:
        below.setdefault(instruction_end(source, note.line), []).append(_note(note))
    is_open = any(note.kind != "lint" for note in notes.notes)
    return (
        f'<details{" open" if is_open else ""} style="margin:4px 0 2px 0">'
        f'<summary style="cursor:pointer;font-size:11.5px;{MUTED}">On the Dockerfile: {escape(notes.summary)}'
        f"</summary>"
        + div(
            f"margin-top:3px;border:{LINE};border-radius:5px;overflow:hidden",
            source_html(notes.lines, notes=below, line_above=False),
        )
        + "</details>"
    )


def _note(note: Note) -> str:
    if note.kind != "lint":
        colour, sign = (_AMBER, "⚠") if note.kind == "warning" else (_BLUE, "⇣")
        return div(
            f"border-left:3px solid {colour};padding-left:8px;overflow-wrap:anywhere",
            f"{sign} ",
            escape(note.text),
        )
    link = f'<a href="{escape(note.link)}" target="_blank" rel="noopener">{escape(note.code)}</a>'
    return div(
        f"border-left:3px solid rgba(128,128,128,.45);padding-left:8px;overflow-wrap:anywhere;{MUTED}",
        link,
        " ",
        escape(note.text),
    )


def source_html(
    lines: Sequence[SourceLine],
    mark: Mark | None = None,
    notes: Mapping[int, Sequence[str]] | None = None,
    *,
    line_above: bool = True,
) -> str:
    """Numbered lines. `notes` are HTML, by the line that they stand below."""
    above = f"border-top:{LINE};" if line_above else ""
    return div(
        f"padding:4px 0;{MONOSPACE};line-height:1.5;{above}max-height:560px;overflow:auto",
        *_rows(lines, mark, notes or {}),
    )


def _rows(
    lines: Sequence[SourceLine], mark: Mark | None, notes: Mapping[int, Sequence[str]]
) -> Iterator[str]:
    digits = len(str(lines[-1].number)) if lines else 1
    before = lines[0].number - 1 if lines else 0
    for line in lines:
        if line.number != before + 1:
            yield _row(digits, _GAP, "", is_failing=line.is_failing)
        before = line.number
        text = _marked(line.text, mark) if mark and mark.line == line.number else escape(line.text)
        yield _row(digits, str(line.number), text or " ", is_failing=line.is_failing)
        for note in notes.get(line.number, ()):
            yield div(
                f"padding:1px 10px 3px {digits + 4}ch;font-family:var(--jp-ui-font-family,sans-serif)", note
            )


def _row(digits: int, number: str, text: str, *, is_failing: bool) -> str:
    look = f"background:{_FAILING};" if is_failing else ""
    sign = span(f"flex:0 0 2ch;color:{_RED};font-weight:bold", "▸" if is_failing and number != _GAP else "")
    return div(
        f"{look}display:flex;padding:0 10px 0 0",
        span(f"flex:0 0 {digits + 1}ch;text-align:right;user-select:none;{MUTED}", number),
        span("flex:0 0 1ch", ""),
        sign,
        # Continued inside a line, a little further in.
        span(
            "flex:1 1 auto;min-width:0;white-space:pre-wrap;overflow-wrap:anywhere;tab-size:4;"
            "padding-left:2ch;text-indent:-2ch",
            text,
        ),
    )


def _marked(text: str, mark: Mark) -> str:
    start, end = mark.column - 1, mark.column - 1 + mark.width
    look = (
        f"background:{_FAILING};text-decoration:underline wavy {_RED};text-decoration-skip-ink:none;"
        "text-underline-offset:3px;font-weight:bold"
    )
    return escape(text[:start]) + span(look, escape(text[start:end])) + escape(text[end:])
