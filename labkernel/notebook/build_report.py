"""A build in a notebook cell: its steps while they run, and the picture that stays."""

from __future__ import annotations

import html
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from labkernel.commands import CommandError, Explanation, Result
from labkernel.commands.build_notes import BuildNotes
from labkernel.notebook.build_stream import BuildStream, Step
from labkernel.notebook.dockerfile_picture import failure_html, notes_html
from labkernel.notebook.layers import Stack
from labkernel.notebook.layers_picture import size, stack_html
from labkernel.notebook.style import (
    BOX,
    FAILED,
    FAINT,
    MONOSPACE,
    MUTED,
    OWN,
    SHARED,
    div,
    escape,
    frame,
    scrolling,
    span,
)

_RUNNING_LINES = 12
_KEPT_LINES = 200
_WIDTH = 60
_PROGRESS_WIDTH = 100
"""Characters: a line of progress that wraps makes what is below it jump."""


def duration(seconds: float) -> str:
    """0.04 s, 5.1 s, 83 s, 12 min."""
    if seconds < 9.95:
        return f"{seconds:.2f} s" if seconds < 0.995 else f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


@dataclass(repr=False)
class BuildReport(Result):
    """A finished build: the image's id, its names, the steps with their times, and its layers."""

    image: str
    tags: Sequence[str]
    steps: Sequence[Step]
    seconds: float
    stack: Stack
    before: str = ""
    explanation: Explanation = field(default_factory=Explanation)
    notes: BuildNotes | None = None
    sizes: dict[int, int] = field(init=False)
    """Step number -> bytes of the layer it made."""

    def __post_init__(self) -> None:
        # The newest entries of the history are the steps, last first; FROM has no entry of its own, nor has
        # an ARG before it. A build of several stages has steps that are in no history, so only single stages
        # are matched.
        starts = [n for n, step in enumerate(self.steps) if step.instruction.upper().startswith("FROM")]
        single = len(starts) == 1
        made = self.stack.layers[: len(self.steps) - 1 - starts[0]] if single else []
        self.sizes = (
            {
                step.number: layer.size
                for step, layer in zip(reversed(self.steps), made, strict=False)
                if layer.diff_id
            }
            if single
            else {}
        )

    @property
    def text(self) -> str:
        lines = [_step_text(step, len(self.steps), self.sizes.get(step.number)) for step in self.steps]
        noted = [*self.notes.warnings, f"({self.notes.summary})"] if self.notes else []
        return "\n".join([*lines, self.verdict, *self._explained, *noted])

    @property
    def _explained(self) -> list[str]:
        """Why steps were run again and what is wasted; nothing where the engine does not say."""
        return [*self._run_again, *self.explanation.waste_lines]

    @property
    def _explained_beside(self) -> list[str]:
        """The same without the waste that is shown at its line."""
        is_noted = self.notes is not None and self.notes.wasted
        return self._run_again if is_noted else self._explained

    @property
    def _run_again(self) -> list[str]:
        found = self.explanation
        return [*found.lines, *([f"hint: {found.hint}"] if found.hint else [])]

    @property
    def verdict(self) -> str:
        name = ", ".join(self.tags) or "an image without a name"
        cached = sum(step.cached for step in self.steps)
        how = f", {cached} of {len(self.steps)} steps from the cache" if cached else ""
        identity = self.image.removeprefix("sha256:")[:12]
        return f"built {name} ({identity}) in {duration(self.seconds)}{how}; {size(self.stack.size)}"

    def _repr_html_(self) -> str:
        rows = [_step_html(step, len(self.steps), self.sizes.get(step.number)) for step in self.steps]
        before = _details("before the first step", self.before) if self.before.strip() else ""
        return div(
            BOX,
            before,
            frame(*rows),
            div("margin:5px 0 2px 0", "✔ ", escape(self.verdict)),
            *(div(f"padding-left:18px;{MUTED}", escape(line)) for line in self._explained_beside),
            notes_html(self.notes) if self.notes else "",
        ) + stack_html(self.stack)


def running_html(stream: BuildStream, under_way: Sequence[str]) -> str:
    """The build as it stands: finished steps, the last lines of the one that runs, and lines of progress of
    what the engine fetches or makes for it.
    """
    under_way = _cut(under_way)
    rows = [_step_html(step, stream.total, None) for step in stream.steps if step is not stream.current]
    step = stream.current
    if step is None:
        tail = "\n".join([*stream.before.splitlines(), *under_way][-_RUNNING_LINES:])
        state = scrolling(tail) if tail.strip() else span(MUTED, "preparing the build …")
        return div(BOX, state, frame(*rows) if rows else "")
    output = "\n".join([*step.output.splitlines(), *under_way][-_RUNNING_LINES:])
    rows.append(
        _row("▶", step, stream.total, FAINT, duration(time.monotonic() - step.started), "")
        + (div("padding:0 10px", scrolling(output, at_end=True)) if output.strip() else "")
    )
    return div(BOX, frame(*rows))


def failed_html(stream: BuildStream, error: CommandError | None) -> str:
    """A build that has failed: its steps, where it failed and what to do. `error` is None for one that was
    interrupted."""
    rows = [_step_html(step, stream.total, None) for step in stream.steps[:-1]]
    is_shown = error is not None and error.failure is not None and bool(error.failure.output)
    for last in stream.steps[-1:]:
        mark = span("font-weight:bold", "✘")
        rows.append(_row(mark, last, stream.total, FAILED, duration(last.seconds or 0.0), ""))
        rows.append(_output_html(last) if is_shown else _open_output_html(last))
    shown = failure_html(error.failure, error.what, error.hint) if error else ""
    return div(BOX, frame(*rows) if rows else "", shown) if rows or shown else ""


def running_text(stream: BuildStream, under_way: Sequence[str]) -> str:
    """The same as text: a line for each step, the last lines of what the current one prints."""
    lines = [_step_text(step, stream.total, None) for step in stream.steps]
    shown = stream.steps[-1].output if stream.steps else stream.before
    last = [*shown.splitlines(), *_cut(under_way)][-_RUNNING_LINES:]
    return "\n".join([*lines, *(f"    {line}" for line in last)])


def failed_text(stream: BuildStream, error: CommandError | None) -> str:
    lines = [_step_text(step, stream.total, None) for step in stream.steps]
    if stream.steps:
        lines += [f"    {line}" for line in stream.steps[-1].output.splitlines()[-_KEPT_LINES:]]
    if error and error.failure:
        lines += [error.failure.text()]
    if error and error.hint:
        lines += [f"hint:  {error.hint}"]
    return "\n".join([*lines, *(["failed"] if lines else [])])


def _cut(under_way: Sequence[str]) -> list[str]:
    return [line if len(line) <= _PROGRESS_WIDTH else line[: _PROGRESS_WIDTH - 1] + "…" for line in under_way]


def _step_text(step: Step, total: int, bytes_: int | None) -> str:
    shown = step.instruction if len(step.instruction) <= _WIDTH else step.instruction[: _WIDTH - 1] + "…"
    time_ = "cached" if step.cached else duration(step.seconds) if step.seconds is not None else "..."
    made = size(bytes_) if bytes_ is not None else ""
    return f"Step {step.number}/{total} : {shown.ljust(_WIDTH)}  {time_:>7}  {made:>8}".rstrip()


def _step_html(step: Step, total: int, bytes_: int | None) -> str:
    made = size(bytes_) if bytes_ is not None else ""
    time_ = "cached" if step.cached else duration(step.seconds or 0.0)
    row = _row("✔", step, total, SHARED if step.cached else OWN, time_, made)
    return row + _output_html(step)


def _output_html(step: Step) -> str:
    """What a step printed, folded."""
    if not step.output.strip():
        return ""
    lines = step.output.strip("\n").splitlines()
    text = "\n".join(lines[-_KEPT_LINES:])
    left_out = "the last of it; " if step.cut or len(lines) > _KEPT_LINES else ""
    return div(
        "padding:0 10px 2px 26px",
        _details(f"output ({left_out}{len(lines)} line{'s' if len(lines) > 1 else ''})", text),
    )


def _open_output_html(step: Step) -> str:
    return div("padding:0 10px", scrolling(step.output, at_end=True)) if step.output.strip() else ""


def _row(mark: str, step: Step, total: int, colour: str, time_: str, made: str) -> str:
    cell = "white-space:nowrap;overflow:hidden;text-overflow:ellipsis"
    return (
        f'<div title="{html.escape(step.instruction)}" style="display:flex;gap:10px;align-items:baseline;'
        f'padding:3px 10px;border-left:4px solid {colour};border-bottom:1px solid {FAINT}">'
        + span("flex:0 0 14px", mark)
        + span(f"flex:0 0 34px;{MUTED}", f"{step.number}/{total}")
        + span(f"flex:1 1 auto;min-width:0;{cell};{MONOSPACE}", escape(step.instruction))
        + span(f"flex:0 0 56px;text-align:right;{MUTED}", escape(time_))
        + span("flex:0 0 64px;text-align:right", escape(made))
        + "</div>"
    )


def _details(title: str, text: str) -> str:
    return (
        f'<details><summary style="cursor:pointer;font-size:11.5px;{MUTED}">{escape(title)}</summary>'
        f"{scrolling(text)}</details>"
    )
