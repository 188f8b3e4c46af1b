"""Where a new window goes: beside those that are there, else where it covers least of them."""

from __future__ import annotations

from collections.abc import Sequence

GAP = 16
"""Pixels between windows, and to the edge of the screen."""

Rectangle = tuple[int, int, int, int]
"""x, y, width, height."""


def place(size: tuple[int, int], others: Sequence[Rectangle], screen: tuple[int, int]) -> tuple[int, int]:
    """The upper left corner for a window of `size` (width, height) among `others` on a screen of that size.

    The highest free place, then the leftmost; a window larger than the screen begins in its corner.
    """
    width, height = size
    most_x, most_y = max(0, screen[0] - width), max(0, screen[1] - height)
    # A free place can be pushed up and to the left until it meets the edge or another window; the far edges
    # are for those that fit without a gap.
    columns = {
        min(GAP, most_x),
        most_x,
        *(x + w + GAP for x, _, w, _ in others if 0 <= x + w + GAP <= most_x),
    }
    rows = {min(GAP, most_y), most_y, *(y + h + GAP for _, y, _, h in others if 0 <= y + h + GAP <= most_y)}
    corners = [(x, y) for y in sorted(rows) for x in sorted(columns)]
    return min(corners, key=lambda corner: sum(_overlap((*corner, width, height), other) for other in others))


def _overlap(one: Rectangle, other: Rectangle) -> int:
    """Pixels that both cover."""
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    high = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return max(0, wide) * max(0, high)
