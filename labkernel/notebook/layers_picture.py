"""The picture of an image's layers: a stack, newest on top, as text and as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labkernel.commands import Result
from labkernel.commands.history import SETTINGS
from labkernel.commands.units import human_size
from labkernel.notebook.layers import Layer, Stack, Writable
from labkernel.notebook.style import (
    BOX,
    FAINT,
    LINE,
    MONOSPACE,
    MUTED,
    OWN,
    SHARED,
    WRITABLE,
    div,
    escape,
    key,
    span,
)

_WIDTH = 60


@dataclass(repr=False)
class LayersPicture(Result):
    """What `%layers` shows: one stack for each name given."""

    stacks: Sequence[Stack]

    @property
    def text(self) -> str:
        return "\n\n".join(stack_text(stack) for stack in self.stacks)

    def _repr_html_(self) -> str:
        return "".join(stack_html(stack) for stack in self.stacks)


def size(count: int) -> str:
    return human_size(count, precision=3)


def sharing(layer: Layer, most: int = 3) -> str:
    """ "shared with golang, me/web-base +2", "own", or "" for an entry without a layer."""
    if layer.diff_id is None:
        return ""
    if not layer.shared_with:
        return "own"
    more = f" +{len(layer.shared_with) - most}" if len(layer.shared_with) > most else ""
    return f"shared with {', '.join(layer.shared_with[:most])}{more}"


def writes(layer: Writable) -> str:
    """ "3 added, 1 changed, 0 deleted": what a container did to its files."""
    return f"{layer.added} added, {layer.changed} changed, {layer.deleted} deleted"


def summary(stack: Stack) -> str:
    count = sum(layer.diff_id is not None for layer in stack.layers)
    layers = f"{count} layer{'' if count == 1 else 's'}"
    return f"{size(stack.size)} in {layers}, {size(stack.own_size)} its own"


def stack_text(stack: Stack) -> str:
    lines = []
    if stack.container is not None and stack.writable is not None:
        lines.append(f"container {stack.container}, on image {stack.name}: {summary(stack)}")
        lines.append(
            f"{size(stack.writable.size):>9}  {'(writable layer)'.ljust(_WIDTH)}  {writes(stack.writable)}"
        )
    else:
        lines.append(f"image {stack.name}: {summary(stack)}")
    for layer in stack.layers:
        shown = layer.instruction
        shown = shown if len(shown) <= _WIDTH else shown[: _WIDTH - 1] + "…"
        bytes_ = size(layer.size) if layer.diff_id else "-"
        lines.append(f"{bytes_:>9}  {shown.ljust(_WIDTH)}  {sharing(layer)}".rstrip())
    return "\n".join(lines)


def stack_html(stack: Stack) -> str:
    largest = max([layer.size for layer in stack.layers] + [1])
    rows = [_layer_row(layer, largest) for layer in stack.layers]
    if stack.container is not None and stack.writable is not None:
        title = f"container <b>{escape(stack.container)}</b> on image <b>{escape(stack.name)}</b>"
        rows.insert(0, _writable_row(stack.writable, largest))
    else:
        title = f"image <b>{escape(stack.name)}</b>"
    legend = [key(OWN, "its own"), key(SHARED, "shared with another image")]
    if stack.writable is not None:
        legend.insert(0, key(WRITABLE, "written by the container"))
    return div(
        f"{BOX};margin:6px 0 10px 0",
        div("margin-bottom:4px", title, span(MUTED, " · ", escape(summary(stack)))),
        div(f"border:{LINE};border-radius:5px;overflow:hidden", *rows),
        div(f"margin-top:3px;font-size:11px;{MUTED}", *legend),
    )


def _layer_row(layer: Layer, largest: int) -> str:
    if layer.diff_id is None:
        note = "settings only" if layer.instruction.startswith(SETTINGS) else "changed no file"
        return _row(layer.instruction, "", note, "transparent", 0, thin=True)
    colour = SHARED if layer.shared_with else OWN
    return _row(layer.instruction, size(layer.size), sharing(layer, 2), colour, layer.size / largest)


def _writable_row(layer: Writable, largest: int) -> str:
    return _row("writable layer", size(layer.size), writes(layer), WRITABLE, min(1.0, layer.size / largest))


def _row(text: str, bytes_: str, note: str, colour: str, share: float, *, thin: bool = False) -> str:
    """One layer: the bar behind the text is as long as its share of the largest layer."""
    percent = max(1.5, 100 * share) if not thin else 0
    background = f"background:linear-gradient(90deg,{colour} {percent:.1f}%,{FAINT} {percent:.1f}%)"
    look = f"padding:1px 10px;{MUTED}" if thin else f"padding:5px 10px;{background}"
    cell = "white-space:nowrap;overflow:hidden;text-overflow:ellipsis"
    return (
        f'<div title="{escape(text)}" style="display:flex;gap:12px;align-items:baseline;'
        f'border-bottom:{LINE};{look}">'
        + span(f"flex:1 1 auto;min-width:0;{cell};{MONOSPACE}", escape(text))
        + span("flex:0 0 64px;text-align:right;white-space:nowrap", escape(bytes_))
        + span(f"flex:0 0 230px;{cell};font-size:11.5px;{MUTED}", escape(note))
        + "</div>"
    )
