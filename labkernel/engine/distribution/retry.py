"""Trying again, later and later, what failed because a registry did not answer: it may be starting again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from labkernel.engine.distribution.progress import Stopped
from labkernel.engine.errors import Unavailable

DELAYS = (1, 2, 4, 8, 15)
"""Seconds before each further attempt; Docker waits 5, 10, 15 and 20."""
LONGEST_DELAY = 60
"""Seconds, whatever a registry asks for."""

T = TypeVar("T")


class Busy(Unavailable):
    """The registry answers that it does not serve now. `seconds` is how long to leave it alone, if it says so
    (header Retry-After)."""

    seconds: int = 0


def persistently(
    work: Callable[[], T],
    tell: Callable[[str], object],
    *stops: threading.Event,
    progress: Callable[[], int] = lambda: 0,
) -> T:
    """Do `work`, again after a while when it raises Unavailable. `tell` gets what is shown meanwhile, in
    Docker's words, and `progress` how far the work has come: who gets on is not short of attempts.

    Raises what `work` does at last, and Stopped once one of `stops` is set.
    """
    attempt, reached = 0, progress()
    while True:
        try:
            return work()
        except Unavailable as error:
            if progress() > reached:
                attempt, reached = 0, progress()
            if attempt == len(DELAYS):
                raise
            asked = error.seconds if isinstance(error, Busy) else 0
            _wait(min(max(DELAYS[attempt], asked), LONGEST_DELAY), tell, stops)
            attempt += 1


def _wait(seconds: float, tell: Callable[[str], object], stops: tuple[threading.Event, ...]) -> None:
    end = time.monotonic() + seconds
    shown = 0
    while (left := end - time.monotonic()) > 0:
        if any(stop.is_set() for stop in stops):
            raise Stopped
        if (whole := int(left) + 1) != shown and whole <= seconds:
            shown = whole
            tell(f"Retrying in {whole} {'second' if whole == 1 else 'seconds'}")
        time.sleep(min(left, 0.1))
