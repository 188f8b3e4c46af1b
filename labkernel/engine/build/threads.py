"""Blocking work beside the engine's loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import ParamSpec, TypeVar

from labkernel.engine.image.store import Store

P = ParamSpec("P")
T = TypeVar("T")


class Stopped(Exception):
    """Nobody waits for the work of this thread any more."""


_stop: ContextVar[threading.Event | None] = ContextVar("stop", default=None)


def stop_if_cancelled() -> None:
    """For long work, between its pieces. Raises Stopped."""
    stop = _stop.get()
    if stop is not None and stop.is_set():
        raise Stopped


async def in_thread(function: Callable[P, T], *args: P.args, **keywords: P.kwargs) -> T:
    """Run a function in a thread. Cancelled, tell it to stop and wait for its end: it uses directories of
    ours."""
    stop = threading.Event()

    def work() -> T:
        _stop.set(stop)  # in the thread's copy of the context
        return function(*args, **keywords)

    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        while not task.done():  # cancelled once more, it waits all the same
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        task.exception()  # nobody's: Stopped, mostly
        raise


@asynccontextmanager
async def temporary(store: Store) -> AsyncIterator[Path]:
    """A temporary directory of the store; removing it may take long, so a thread does it."""
    manager = store.temporary()
    place = manager.__enter__()
    try:
        yield place
    finally:
        await in_thread(manager.__exit__, None, None, None)
