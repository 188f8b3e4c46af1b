from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from labkernel.engine.build.copying import Ownership, Source, copy
from labkernel.engine.build.rootfs import Rootfs
from labkernel.engine.build.sources import File, Found
from labkernel.engine.build.threads import in_thread, stop_if_cancelled
from labkernel.engine.image.tarformat import DIRECTORY
from labkernel.engine.image.whiteouts import Overlay

_MANY = 100_000


class Long:
    """A directory with more files than are copied in a moment."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.count = 0

    def children(self, directory: Found):  # type: ignore[no-untyped-def]
        for number in range(_MANY):
            self.count = number
            yield Found(str(number), File(), None)
            self.begun.set()

    def copy_content(self, found: Found, out: int) -> None:
        pass


def test_a_copy_stops_where_it_is_cancelled(tmp_path: Path, root: None) -> None:
    async def cancel() -> None:
        tree = Long()
        source = Source(tree, Found("", File(type=DIRECTORY), None), "", "")  # type: ignore[arg-type]
        target = Rootfs((), upper=tmp_path, overlay=Overlay(userxattr=False))
        task = asyncio.create_task(in_thread(copy, target, [source], "/", Ownership(None)))
        await asyncio.to_thread(tree.begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert tree.count < _MANY - 1

    asyncio.run(asyncio.wait_for(cancel(), 60))


def test_work_that_is_wanted_goes_on() -> None:
    stop_if_cancelled()
    assert asyncio.run(in_thread(stop_if_cancelled)) is None  # type: ignore[func-returns-value]


def test_who_is_cancelled_twice_waits_all_the_same() -> None:
    """A stage is, when another fails: what the thread writes to would be removed under it."""
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(10)
        ended.set()

    async def cancel() -> None:
        task = asyncio.create_task(in_thread(work))
        await asyncio.to_thread(begun.wait)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.01)
        assert not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    asyncio.run(asyncio.wait_for(cancel(), 30))
