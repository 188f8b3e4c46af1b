"""The threads in which bodies are read and written, and who has to leave one when all are taken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import ParamSpec, TypeVar

THREADS = 64
"""Of their own: clients that stop in the middle keep them, and the rest of the engine has to go on."""
PATIENCE = 10.0
"""Seconds without a byte from or to a client after which its transfer gives way to one that waits."""
_LOOK_AGAIN = 0.5

P = ParamSpec("P")
T = TypeVar("T")


class TransferThreads:
    """Runs transfers, each in a thread. One that waits for its client keeps its thread for as long as there
    are others; when there are none left, those that have waited the longest are cut off.
    """

    def __init__(self, threads: int = THREADS, patience: float = PATIENCE) -> None:
        self._threads = threads
        self._patience = patience
        self._executor = ThreadPoolExecutor(threads, "transfer")
        self._begun = 0
        self._waiting: dict[object, tuple[float, Callable[[], None]]] = {}
        self._making_room: asyncio.Task[None] | None = None

    async def run(self, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Run blocking code that reads a body or writes an answer."""
        self._begun += 1
        try:
            if self._begun > self._threads and (self._making_room is None or self._making_room.done()):
                self._making_room = asyncio.ensure_future(self._make_room())
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, partial(work, *args, **options))
        finally:
            self._begun -= 1

    @contextmanager
    def waiting(self, cut: Callable[[], None]) -> Iterator[None]:
        """Around the wait for a client, in the transfer's thread; `cut`, called from the loop, ends it."""
        key = object()
        self._waiting[key] = (time.monotonic(), cut)
        try:
            yield
        finally:
            self._waiting.pop(key, None)

    async def _make_room(self) -> None:
        while (wanted := self._begun - self._threads) > 0:
            stalled = time.monotonic() - self._patience
            found = [(since, key) for key, (since, _) in list(self._waiting.items()) if since < stalled]
            for _, key in sorted(found, key=lambda item: item[0])[:wanted]:
                if entry := self._waiting.pop(key, None):
                    entry[1]()
            await asyncio.sleep(_LOOK_AGAIN)
