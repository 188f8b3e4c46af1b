"""Work that tells what it does in JSON messages, one a line: pull, push, build, and the making of images."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from labkernel.engine.api.errors import stream_error
from labkernel.engine.errors import EngineError, System
from labkernel.engine.http.server import Request, StreamResponse

log = logging.getLogger(__name__)

BEHIND = 16
"""Messages that a client may leave unread before the work waits; one holds 64 KiB of output at most."""

Message = dict[str, Any]
Work = Callable[["Messages"], Coroutine[Any, Any, Any]]


class Messages:
    """What some work has said and its client has not yet read; the work is begun at once, and cancelled with
    its client.

    Work whose output has no end (a RUN step) awaits `room` as it goes. Other work says a bounded number of
    things beside its progress, and progress that nobody reads is left out.
    """

    def __init__(self, work: Work, describe: Callable[[EngineError], Message]) -> None:
        self._unread: deque[Message | EngineError | None] = deque()
        self._arrived, self._taken = asyncio.Event(), asyncio.Event()
        self._work, self._describe = work, describe
        self._task = asyncio.get_running_loop().create_task(self._run())

    # the work's side

    def put(self, message: Message) -> None:
        if message.get("progressDetail") and len(self._unread) >= BEHIND:
            return  # a later message says more
        self._add(message)

    async def room(self) -> None:
        """Wait while the client is behind."""
        while len(self._unread) >= BEHIND:
            self._taken.clear()
            await self._taken.wait()

    def _add(self, item: Message | EngineError | None) -> None:
        self._unread.append(item)
        self._arrived.set()

    async def _run(self) -> None:
        try:
            await self._work(self)
        except EngineError as error:
            self._add(error)
        except Exception as error:
            log.exception("in the middle of a stream")
            self._add(System(f"internal error: {type(error).__name__}: {error}"))
        finally:
            self._add(None)

    # the client's side

    async def _next(self) -> Message | EngineError | None:
        while not self._unread:
            self._arrived.clear()
            await self._arrived.wait()
        self._taken.set()
        return self._unread.popleft()

    async def first(self) -> Message | None:
        """The first message; an error before it is raised."""
        try:
            message = await self._next()
        except asyncio.CancelledError:  # the client went
            await self._end()
            raise
        if isinstance(message, EngineError):
            raise message
        return message

    async def lines(self, first: Message | None = None) -> AsyncGenerator[bytes, None]:
        try:
            if first is not None:
                yield _line(first)
            while (message := await self._next()) is not None:
                yield _line(self._describe(message) if isinstance(message, EngineError) else message)
        finally:
            await self._end()

    async def _end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def _line(message: Message) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\r\n"


def json_lines(work: Work) -> StreamResponse:
    """A stream of JSON messages, one a line, ended by the error that ended the work."""
    return StreamResponse(Messages(work, stream_error).lines())


async def json_lines_once_begun(
    request: Request, work: Work, describe: Callable[[EngineError], Message]
) -> StreamResponse:
    """As `json_lines`; an error before the first message is raised and becomes a status."""
    messages = Messages(work, describe)
    return StreamResponse(messages.lines(await request.unless_disconnected(messages.first())))
