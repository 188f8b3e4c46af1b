"""The steps that a build is doing now: one a processor at once, two at least, and no step twice."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

Key = tuple[str, tuple[str, ...]]
"""A step as the cache knows it: the parent image's id, and the command."""


class Doing:
    """For one build. A step takes a place here last of all, so that whoever has one needs no other's."""

    def __init__(self) -> None:
        # Two even on one processor: a step that installs something waits for the network most of the time.
        self._places = asyncio.Semaphore(max(2, len(os.sched_getaffinity(0))))
        self._ends: dict[Key, asyncio.Event] = {}

    async def equal(self, step: Key) -> None:
        """Wait while a step with this key is done: the cache has it then."""
        while (end := self._ends.get(step)) is not None:
            await end.wait()

    @asynccontextmanager
    async def step(self, step: Key) -> AsyncIterator[None]:
        """Do a step in here, once there is a place for it."""
        end = asyncio.Event()
        is_first = self._ends.setdefault(step, end) is end
        try:
            async with self._places:
                yield
        finally:
            if is_first:
                del self._ends[step]
                end.set()
