"""Who leaves a thread when all are taken."""

from __future__ import annotations

import asyncio
import threading

from labkernel.engine.api.transfer_threads import TransferThreads


def stall(threads: TransferThreads, name: str, cut: list[str]) -> None:
    """Wait for a client that does nothing."""
    ended = threading.Event()

    def give_way() -> None:
        cut.append(name)
        ended.set()

    with threads.waiting(give_way):
        ended.wait(20)


def test_the_one_that_has_waited_longest_gives_way_and_only_when_room_is_needed() -> None:
    async def run() -> tuple[list[str], list[str]]:
        threads, cut = TransferThreads(threads=2, patience=0.05), list[str]()
        first = asyncio.ensure_future(threads.run(stall, threads, "first", cut))
        await asyncio.sleep(0.02)
        second = asyncio.ensure_future(threads.run(stall, threads, "second", cut))
        await asyncio.sleep(0.2)
        before = list(cut)
        assert await asyncio.wait_for(threads.run(lambda: "done"), 10) == "done"
        assert not second.done()
        after = list(cut)
        await first
        # What works and does not wait for a client is left alone, however long it takes.
        busy = threading.Event()
        working = asyncio.ensure_future(threads.run(busy.wait, 20))
        await asyncio.sleep(0.1)
        assert await asyncio.wait_for(threads.run(lambda: "done"), 10) == "done"
        assert not working.done()
        busy.set()
        await asyncio.gather(working, second)
        assert cut == ["first", "second"]
        return before, after

    before, after = asyncio.run(run())
    assert before == []
    assert after == ["first"]
