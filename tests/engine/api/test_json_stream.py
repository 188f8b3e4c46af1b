from __future__ import annotations

import asyncio
import json
from typing import Any

from labkernel.engine.api.errors import stream_error
from labkernel.engine.api.json_stream import BEHIND, Messages
from labkernel.engine.errors import Conflict


async def rest(messages: Messages) -> list[dict[str, Any]]:
    return [json.loads(line) async for line in messages.lines()]


async def settle() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


def test_work_that_asks_for_room_waits_for_its_client() -> None:
    said = []

    async def work(messages: Messages) -> None:
        for number in range(1000):
            messages.put({"stream": str(number)})
            said.append(number)
            await messages.room()

    async def scenario() -> None:
        messages = Messages(work, stream_error)
        await settle()
        assert len(said) == BEHIND
        assert [message["stream"] for message in await rest(messages)] == [str(n) for n in range(1000)]

    asyncio.run(scenario())


def test_progress_that_nobody_reads_is_left_out_and_nothing_else() -> None:
    async def work(messages: Messages) -> None:
        for done in range(10_000):
            messages.put({"status": "Downloading", "id": "a", "progressDetail": {"current": done}})
        for number in range(3 * BEHIND):
            messages.put({"status": "Pull complete", "id": str(number), "progressDetail": {}})
        raise Conflict("and then it failed")

    async def scenario() -> list[dict[str, Any]]:
        messages = Messages(work, stream_error)
        await settle()
        return await rest(messages)

    *found, last = asyncio.run(scenario())
    assert [m["id"] for m in found if m["status"] == "Pull complete"] == [str(n) for n in range(3 * BEHIND)]
    assert len(found) == 4 * BEHIND
    assert last["error"] == "and then it failed"


def test_the_work_ends_with_its_client() -> None:
    async def scenario() -> None:
        ended = asyncio.Event()

        async def work(messages: Messages) -> None:
            try:
                while True:
                    messages.put({"stream": "more"})
                    await messages.room()
            finally:
                ended.set()

        lines = Messages(work, stream_error).lines()
        await anext(lines)
        await lines.aclose()
        assert ended.is_set()

        ended.clear()

        async def silent(messages: Messages) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        first = asyncio.ensure_future(Messages(silent, stream_error).first())
        await settle()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert ended.is_set()

    asyncio.run(scenario())
