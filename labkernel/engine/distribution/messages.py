"""The JSON messages of pull and push, as dockerd writes and its clients draw them. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Message = dict[str, Any]
Output = Callable[[Message], None]

_BAR_WIDTH = 50
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def status(text: str, identifier: str | None = None) -> Message:
    return {"status": text, "id": identifier} if identifier else {"status": text}


def step(text: str, identifier: str) -> Message:
    """A step of one layer, named by the start of its digest."""
    return {"status": text, "progressDetail": {}, "id": identifier}


def progress(text: str, identifier: str, current: int, total: int) -> Message:
    """How far a step has come, in bytes."""
    return {
        "status": text,
        "progressDetail": {"current": current, "total": total},
        "progress": bar(current, total),
        "id": identifier,
    }


def bar(current: int, total: int) -> str:
    """The bar that clients show, for those that do not draw it themselves."""
    numbers = f"{human_size(current):>8}/{human_size(total)}"
    if total <= 0:
        return f"{human_size(current):>8}"
    filled = min(int(current / total * 100) // 2, _BAR_WIDTH)
    return f"[{'=' * filled}>{' ' * (_BAR_WIDTH - filled)}] {numbers}"


def human_size(size: float) -> str:
    """Decimal units and four digits: 1234567 -> `1.235MB`."""
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size /= 1000
        unit += 1
    return f"{size:.4g}{_UNITS[unit]}"


def short(digest: str) -> str:
    """The twelve digits by which a layer is shown."""
    return digest.removeprefix("sha256:")[:12]
