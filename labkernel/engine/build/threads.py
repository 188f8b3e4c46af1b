"""Blocking work beside the engine's loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

from labkernel.engine.image.store import Store

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *args: P.args, **keywords: P.kwargs) -> T:
    """Run a function in a thread. Cancelled, wait for its end all the same: it uses directories of ours."""
    task = asyncio.ensure_future(asyncio.to_thread(function, *args, **keywords))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with suppress(Exception):
            await asyncio.wait({task})
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
