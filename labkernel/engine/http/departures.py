"""Clients that leave, a few at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

AT_A_TIME = 50
"""What is done for so many takes some milliseconds: several tasks of each come to their end."""


class Departures:
    """Does what there is to do for who has left, and lets the loop serve the others in between.

    When a program with thousands of streams ends, the kernel tells of all of them at once.
    """

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._called = False

    def add(self, depart: Callable[[], None]) -> None:
        self._waiting.append(depart)
        self._call()

    def _call(self) -> None:
        if self._waiting and not self._called:
            self._called = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._called = False
        for _ in range(min(AT_A_TIME, len(self._waiting))):
            self._waiting.popleft()()
        self._call()
