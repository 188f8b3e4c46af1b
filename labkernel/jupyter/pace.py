"""How often to look at a screen: often while something happens, seldom when nothing does."""

from __future__ import annotations

EAGER, FAST, SLOW = 1 / 200, 1 / 60, 1 / 5
"""Seconds between two looks: after a click or key, while the picture changes, after a second of silence."""
_SLOWER = 1.15


class Pace:
    """`interval` is the time until the next look, in seconds."""

    def __init__(self) -> None:
        self.interval = FAST

    def stir(self, *, soon: bool) -> None:
        """Something may happen; `soon`: somebody has pressed a key, and waits to see what it does."""
        self.interval = EAGER if soon else min(FAST, self.interval)

    def looked(self, *, changed: bool) -> None:
        """A look has been taken, and there was something new or not."""
        self.interval = FAST if changed else min(SLOW, self.interval * _SLOWER)
