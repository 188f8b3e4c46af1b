"""What a client sends, from the socket to whoever reads it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

BODY_HIGH_WATER = 4 << 20
"""Bytes of an unread body held in memory before the socket is no longer read."""


class Disconnected(Exception):
    """The client went away."""


class ByteQueue:
    """Bytes from a socket to a reader: bounded by pausing the socket, ended by end-of-file or by a lost
    connection.
    """

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._lost = False
        self._arrived = asyncio.Event()
        self._pause, self._resume = pause, resume
        self._paused = False

    def feed(self, data: bytes) -> None:
        if not data:  # to a reader it would be the end
            return
        self._chunks.append(data)
        self._size += len(data)
        self._arrived.set()
        if self._size > BODY_HIGH_WATER and not self._paused:
            self._paused = True
            self._pause()

    def end(self, *, lost: bool = False) -> None:
        self._lost = self._lost or (lost and not self._ended)
        self._ended = True
        self._arrived.set()

    async def read(self) -> bytes:
        """The next chunk, or b"" at the end.

        Raises:
            Disconnected: the connection broke before the end.
        """
        while not self._chunks:
            if self._lost:
                raise Disconnected
            if self._ended:
                return b""
            self._arrived.clear()
            await self._arrived.wait()
        chunk = self._chunks.popleft()
        self._size -= len(chunk)
        if self._paused and self._size < BODY_HIGH_WATER // 2:
            self._paused = False
            self._resume()
        return chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self.read():
            yield chunk
