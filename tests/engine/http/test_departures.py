"""Many clients that leave at once."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from labkernel.engine.http.departures import AT_A_TIME, Departures


def test_all_leave_in_their_order_and_others_are_served_in_between() -> None:
    async def run() -> list[int]:
        departures, left, served = Departures(), [], []

        def serve() -> None:
            served.append(len(left))
            if len(left) < count:
                asyncio.get_running_loop().call_soon(serve)

        count = 3 * AT_A_TIME + 1
        for number in range(count):
            departures.add(lambda number=number: left.append(number))
        serve()
        while len(left) < count:
            await asyncio.sleep(0)
        assert left == list(range(count))
        return served

    served = asyncio.run(run())
    assert max(after - before for before, after in pairwise(served)) <= AT_A_TIME
    assert len(served) > 3


def test_who_leaves_later_is_told_too() -> None:
    async def run() -> list[str]:
        departures, left = Departures(), []
        departures.add(lambda: departures.add(lambda: left.append("second")))
        await asyncio.sleep(0.01)
        departures.add(lambda: left.append("third"))
        await asyncio.sleep(0.01)
        return left

    assert asyncio.run(run()) == ["second", "third"]
