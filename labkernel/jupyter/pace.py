"""How often to look at a screen: often while something happens, seldom when nothing does."""

from __future__ import annotations

FAST = 1 / 60
SLOW = 1 / 5
"""Seconds between two looks, from the one to the other within a second of silence."""
_SLOWER = 1.15


class Pace:
    """`interval` is the time until the next look, in seconds."""

    def __init__(self) -> None:
        self.interval = FAST

    def stir(self) -> None:
        """Something has happened, or is about to: a key was pressed."""
        self.interval = FAST

    def looked(self, *, changed: bool) -> None:
        """A look has been taken, and there was something new or not."""
        self.interval = FAST if changed else min(SLOW, self.interval * _SLOWER)
