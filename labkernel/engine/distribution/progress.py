"""How far something has come, told at a bearable rate; and how it is stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_BETWEEN_MESSAGES = 0.1


class Stopped(Exception):
    """The caller does not want the rest any more."""


class Throttled:
    """Passes on a number of bytes ten times a second; raises Stopped once one of `stops` is set."""

    def __init__(self, report: Callable[[int], None], *stops: threading.Event) -> None:
        self._report = report
        self._stops = stops
        self._last = 0.0

    def __call__(self, done: int) -> None:
        if any(stop.is_set() for stop in self._stops):
            raise Stopped
        now = time.monotonic()
        if now - self._last >= _BETWEEN_MESSAGES:
            self._last = now
            self._report(done)
