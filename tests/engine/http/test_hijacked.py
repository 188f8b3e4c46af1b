"""Output waits for a client that has not read the head yet."""

from __future__ import annotations

import asyncio
import socket

from labkernel.engine.http.hijacked import until_read


def test_until_the_other_end_has_read() -> None:
    async def scene() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            await until_read(ours)  # nothing was sent
            ours.send(b"head")
            waiting = asyncio.ensure_future(until_read(ours, patience=60))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            assert theirs.recv(100) == b"head"
            await asyncio.wait_for(waiting, 10)

    asyncio.run(scene())


def test_a_client_that_does_not_read_is_not_waited_for_long() -> None:
    async def scene() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.send(b"head")
            await asyncio.wait_for(until_read(ours, patience=0.05), 10)
            assert theirs.recv(100) == b"head"

    asyncio.run(scene())
