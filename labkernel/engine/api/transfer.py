"""Bodies and threads: tar archives are read and written by blocking code, sockets by the loop."""

from __future__ import annotations

import asyncio
import io
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import BinaryIO, ParamSpec, TypeVar

from labkernel.engine.api.transfer_threads import TransferThreads
from labkernel.engine.http.byte_queue import Disconnected
from labkernel.engine.http.server import Request
from labkernel.engine.image.tarwriter import Writer

_CHUNK = 256 << 10
_IN_FLIGHT = 8
"""Chunks between the two sides before the faster one waits."""

_THREADS = TransferThreads()

P = ParamSpec("P")
T = TypeVar("T")


async def transferring(work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Run blocking code that reads a body or writes an answer in a thread."""
    return await _THREADS.run(work, *args, **options)


class _BodyReader(io.RawIOBase):
    """The reading side, for a thread."""

    def __init__(self) -> None:
        self._chunks: deque[memoryview] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._lost = False
        self._full = False
        self._stalled = False
        self.taken = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    # the loop's side

    async def put(self, chunk: bytes) -> None:
        self.taken.clear()
        with self._changed:
            self._chunks.append(memoryview(chunk))
            full = self._full = len(self._chunks) > _IN_FLIGHT
            self._changed.notify()
        if full:
            await self.taken.wait()

    def end(self, *, lost: bool = False) -> None:
        with self._changed:
            self._ended, self._lost = True, lost
            self._changed.notify()

    def _give_way(self) -> None:
        self._stalled = True
        self.end(lost=True)

    # the thread's side

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        with self._changed:
            if not self._chunks and not self._ended:
                with _THREADS.waiting(self._give_way):
                    while not self._chunks and not self._ended:
                        self._changed.wait()
            if not self._chunks:
                if self._stalled:
                    raise ConnectionAbortedError("the body stalled while others waited to send theirs")
                if self._lost:
                    raise ConnectionResetError("the client went away in the middle of the body")
                return 0
            chunk = self._chunks[0]
            size = min(len(chunk), len(buffer))
            buffer[:size] = chunk[:size]
            if size == len(chunk):
                self._chunks.popleft()
                if self._full and len(self._chunks) <= _IN_FLIGHT // 2:
                    self._full = False
                    self._loop.call_soon_threadsafe(self.taken.set)
            else:
                self._chunks[0] = chunk[size:]
            return size


@asynccontextmanager
async def body_file(request: Request) -> AsyncIterator[BinaryIO]:
    """The request's body as a file for blocking code in another thread; reading it waits for the client."""
    reader = _BodyReader()

    async def pump() -> None:
        try:
            async for chunk in request.body:
                await reader.put(chunk)
        except Disconnected:
            reader.end(lost=True)
        else:
            reader.end()

    pumping = asyncio.ensure_future(pump())
    try:
        yield io.BufferedReader(reader, _CHUNK)
    finally:
        pumping.cancel()
        reader.end(lost=True)  # a thread that still reads must not wait for ever


class _ChunkWriter:
    """The writing side, in a thread: gathers what it gets into chunks and waits while the loop is behind."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.chunks: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()
        self.room = threading.Semaphore(_IN_FLIGHT)
        self.abandoned = False
        self._buffer = bytearray()

    def write(self, data: memoryview | bytes, /) -> int:
        self._buffer += data
        if len(self._buffer) >= _CHUNK:
            self.flush()
        return len(data)

    def flush(self) -> None:
        if self._buffer:
            if not self.room.acquire(blocking=False):
                with _THREADS.waiting(self.abandon):
                    self.room.acquire()
            if self.abandoned:
                raise BrokenPipeError("the client went away")
            self.put(bytes(self._buffer))
            self._buffer.clear()

    def abandon(self) -> None:
        """Nobody takes any more of it: the thread is to end."""
        self.abandoned = True
        self.room.release(_IN_FLIGHT)

    def put(self, item: bytes | BaseException | None) -> None:
        self._loop.call_soon_threadsafe(self.chunks.put_nowait, item)


async def written(write: Callable[[Writer], object]) -> AsyncGenerator[bytes, None]:
    """What `write` writes, in chunks, while it runs in a thread.

    Returns once there is a first chunk: an exception before it is raised here, and can still become an
    error response.
    """
    chunks = _written(write)
    first = await anext(chunks, b"")

    async def all_chunks() -> AsyncGenerator[bytes, None]:
        try:
            yield first
            async for chunk in chunks:
                yield chunk
        finally:
            await chunks.aclose()

    return all_chunks()


async def _written(write: Callable[[Writer], object]) -> AsyncGenerator[bytes, None]:
    writer = _ChunkWriter()

    def run() -> None:
        try:
            write(writer)
            writer.flush()
        except BaseException as error:
            writer.put(error)
        else:
            writer.put(None)

    thread = asyncio.ensure_future(transferring(run))
    try:
        while (item := await writer.chunks.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
            writer.room.release()
    finally:
        writer.abandon()
        await asyncio.shield(thread)
