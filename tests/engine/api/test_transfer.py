from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from labkernel.engine.api.transfer import body_file, written
from labkernel.engine.errors import NotFound
from labkernel.engine.http.byte_queue import ByteQueue
from labkernel.engine.http.server import Request
from labkernel.engine.image.tarwriter import Writer


def request_with(body: ByteQueue) -> Request:
    nothing = cast(Any, None)
    return Request("PUT", "/", {}, {}, body=body, connection=nothing, api_version=(1, 44))


def queue(*chunks: bytes, end: bool = True, lost: bool = False) -> ByteQueue:
    body = ByteQueue(lambda: None, lambda: None)
    for chunk in chunks:
        body.feed(chunk)
    if end:
        body.end(lost=lost)
    return body


def test_a_thread_reads_the_body_as_a_file() -> None:
    async def reading() -> tuple[bytes, bytes]:
        async with body_file(request_with(queue(b"abc", b"", b"defg", bytes(1_000_000)))) as file:
            return await asyncio.to_thread(file.read, 5), await asyncio.to_thread(file.read)

    head, rest = asyncio.run(reading())
    assert head == b"abcde"
    assert rest == b"fg" + bytes(1_000_000)


def test_a_body_that_breaks_off_is_an_error_for_its_reader() -> None:
    async def reading() -> None:
        async with body_file(request_with(queue(b"abc", lost=True))) as file:
            with pytest.raises(ConnectionResetError):
                await asyncio.to_thread(file.read)

    asyncio.run(reading())


def test_a_reader_that_waits_is_let_go_when_the_request_ends() -> None:
    async def reading() -> None:
        async with body_file(request_with(queue(b"abc", end=False))) as file:
            waiting = asyncio.ensure_future(asyncio.to_thread(file.read))
            await asyncio.sleep(0.05)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(waiting, 5)

    asyncio.run(reading())


def test_a_fast_client_waits_for_a_slow_reader() -> None:
    paused: list[str] = []

    async def reading() -> int:
        body = ByteQueue(lambda: paused.append("pause"), lambda: paused.append("resume"))
        for _ in range(100):
            body.feed(bytes(100_000))
        body.end()
        async with body_file(request_with(body)) as file:
            await asyncio.sleep(0.1)
            return len(await asyncio.to_thread(file.read))

    assert asyncio.run(reading()) == 10_000_000
    assert paused == ["pause", "resume"]


def collected(write: Callable[[Writer], object]) -> bytes:
    async def reading() -> bytes:
        return b"".join([chunk async for chunk in await written(write)])

    return asyncio.run(reading())


def test_what_a_thread_writes_comes_in_order() -> None:
    def write(out: Writer) -> None:
        for number in range(1000):
            out.write(number.to_bytes(4, "big") * 1000)

    assert collected(write) == b"".join(number.to_bytes(4, "big") * 1000 for number in range(1000))


def test_nothing_written_is_an_empty_stream() -> None:
    assert collected(lambda out: None) == b""


def test_an_error_before_the_first_byte_is_raised_at_once() -> None:
    def write(out: Writer) -> None:
        raise NotFound("no such thing")

    with pytest.raises(NotFound):
        asyncio.run(written(write))


def test_an_error_later_breaks_the_stream() -> None:
    def write(out: Writer) -> None:
        out.write(bytes(1_000_000))
        raise OSError("the disk went away")

    with pytest.raises(OSError, match="the disk went away"):
        collected(write)


def test_a_client_that_goes_ends_the_writer() -> None:
    ended = threading.Event()

    def write(out: Writer) -> None:
        try:
            while True:
                out.write(bytes(300_000))
        finally:
            ended.set()

    async def reading() -> None:
        chunks = await written(write)
        await anext(chunks)
        await cast(Any, chunks).aclose()

    asyncio.run(reading())
    assert ended.wait(5)
