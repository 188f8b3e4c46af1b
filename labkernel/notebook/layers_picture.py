"""The picture of an image's layers: a stack, newest on top, as text, as HTML and as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

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
    frame,
    key,
    span,
)
from labkernel.notebook.views.layer_files import ADDED, CHANGED, DELETED, Change, LayerFiles
from labkernel.notebook.views.picture import Picture

_WIDTH = 52
_SIGNS = {ADDED: "+", CHANGED: "~", DELETED: "-"}


@dataclass(repr=False)
class LayersPicture(Picture):
    """What `%layers` shows: one stack for each name given.

    `is_counting`: the files of some layer are still being counted.
    """

    kind: ClassVar[str] = "layers"

    stacks: Sequence[Stack]
    is_counting: bool = False

    @property
    def data(self) -> dict[str, Any]:
        return {"stacks": [stack_data(stack) for stack in self.stacks], "counting": self.is_counting}

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


def writes(files: Writable | LayerFiles | None) -> str:
    """ "3 added, 1 changed": what was done to files; "" when that is not known."""
    if files is None:
        return ""
    counts = [(files.added, ADDED), (files.changed, CHANGED), (files.deleted, DELETED)]
    return ", ".join(f"{count:,} {kind}" for count, kind in counts if count) or "no files"


def summary(stack: Stack) -> str:
    count = sum(layer.diff_id is not None for layer in stack.layers)
    layers = f"{count} layer{'' if count == 1 else 's'}"
    return f"{size(stack.size)} in {layers}, {size(stack.own_size)} its own"


def stack_text(stack: Stack) -> str:
    lines = []
    if stack.container is not None and stack.writable is not None:
        lines.append(f"container {stack.container}, on image {stack.name}: {summary(stack)}")
        writable = "(writable layer)".ljust(_WIDTH)
        lines.append(f"{size(stack.writable.size):>9}  {writable}  {writes(stack.writable)}")
    else:
        lines.append(f"image {stack.name}: {summary(stack)}")
    for layer in stack.layers:
        shown = layer.instruction
        shown = shown if len(shown) <= _WIDTH else shown[: _WIDTH - 1] + "…"
        bytes_ = size(layer.size) if layer.diff_id else "-"
        notes = "; ".join(filter(None, [writes(layer.files), sharing(layer)]))
        lines.append(f"{bytes_:>9}  {shown.ljust(_WIDTH)}  {notes}".rstrip())
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
    signs = ", ".join(f"{sign} {kind}" for kind, sign in _SIGNS.items())
    legend.append(span("", escape(f"files: {signs}")))
    return div(
        f"{BOX};margin:6px 0 10px 0",
        div("margin-bottom:4px", title, span(MUTED, " · ", escape(summary(stack)))),
        frame(*rows),
        div(f"margin-top:3px;font-size:11px;{MUTED}", *legend),
    )


def _layer_row(layer: Layer, largest: int) -> str:
    if layer.diff_id is None:
        note = "settings only" if layer.instruction.startswith(SETTINGS) else "changed no file"
        return _row(layer.instruction, "", note, "transparent", 0, thin=True)
    colour = SHARED if layer.shared_with else OWN
    note = "; ".join(filter(None, [sharing(layer, 2), writes(layer.files)]))
    paths = layer.files.paths if layer.files else ()
    return _row(layer.instruction, size(layer.size), note, colour, layer.size / largest, paths)


def _writable_row(layer: Writable, largest: int) -> str:
    share = min(1.0, layer.size / largest)
    return _row("writable layer", size(layer.size), writes(layer), WRITABLE, share, layer.changes)


def _row(
    text: str,
    bytes_: str,
    note: str,
    colour: str,
    share: float,
    paths: Sequence[Change] = (),
    *,
    thin: bool = False,
) -> str:
    """One layer: the bar behind the text is as long as its share of the largest layer; `paths` unfold."""
    percent = max(1.5, 100 * share) if not thin else 0
    background = f"background:linear-gradient(90deg,{colour} {percent:.1f}%,{FAINT} {percent:.1f}%)"
    look = f"padding:1px 10px;{MUTED}" if thin else f"padding:5px 10px;{background}"
    cell = "white-space:nowrap;overflow:hidden;text-overflow:ellipsis"
    row = (
        f'title="{escape(text)}" style="display:flex;gap:12px;align-items:baseline;'
        f'border-bottom:{LINE};{look}">'
        + span(f"flex:1 1 auto;min-width:0;{cell};{MONOSPACE}", escape(text))
        + span("flex:0 0 64px;text-align:right;white-space:nowrap", escape(bytes_))
        + span(f"flex:0 0 300px;{cell};font-size:11.5px;{MUTED}", escape(note))
    )
    if not paths:
        return f"<div {row}</div>"
    lines = "<br>".join(escape(change_text(change)) for change in paths)
    inside = div(f"padding:3px 10px 3px 22px;max-height:180px;overflow:auto;{MONOSPACE}", lines)
    return f"<details><summary {row}</summary>{inside}</details>"


def change_text(change: Change) -> str:
    """ "+ usr/bin/gcc  1.1MB"."""
    return f"{_SIGNS[change.kind]} {change.path}" + (f"  {size(change.size)}" if change.size else "")


def stack_data(stack: Stack) -> dict[str, Any]:
    """The stack as the Lab extension takes it: layers newest first, sizes in bytes."""
    writable = stack.writable
    return {
        "name": stack.name,
        "container": stack.container,
        "summary": summary(stack),
        "writable": writable
        and {
            "running": writable.is_running,
            "size": writable.size,
            **_files_data(writable, writable.changes),
        },
        "layers": [
            {
                "id": chain_id and chain_id.removeprefix("sha256:")[:12],
                "instruction": layer.instruction,
                "size": layer.size,
                "settings": layer.instruction.startswith(SETTINGS),
                "shared": list(layer.shared_with),
                "files": layer.files and _files_data(layer.files, layer.files.paths),
            }
            for layer, chain_id in zip(stack.layers, stack.chain, strict=True)
        ],
    }


def _files_data(files: Writable | LayerFiles, paths: Sequence[Change]) -> dict[str, Any]:
    return {
        "added": files.added,
        "changed": files.changed,
        "deleted": files.deleted,
        "paths": [[change.kind, change.path, change.size] for change in paths],
    }
