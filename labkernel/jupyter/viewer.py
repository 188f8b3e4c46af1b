"""One viewer of a screen: sends pictures while there is something new and somebody looks."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable

from labkernel.display import FrameBuffer, Frames, Screen
from labkernel.jupyter.pace import Pace

UNSEEN = 2
"""Pictures that may be under way; the next waits until the browser has drawn one."""


class Viewer:
    """`run` works until the screen ends. The other methods say what the browser has told."""

    def __init__(self, screen: Screen, send: Callable[[bytes], Awaitable[None]]) -> None:
        self._screen = screen
        self._send = send
        self._pace = Pace()
        self._unseen = 0
        self._is_looking = True
        self._news = asyncio.Event()

    def seen(self) -> None:
        """A picture has been drawn."""
        self._unseen = max(0, self._unseen - 1)
        self._news.set()

    def look(self, visible: bool) -> None:
        """Whether anybody looks."""
        self._is_looking = visible
        self.stir(soon=False)

    def stir(self, *, soon: bool) -> None:
        """The hand has moved; `soon`: it has pressed something."""
        self._pace.stir(soon=soon)
        self._news.set()

    async def run(self) -> None:
        """Send what is new until the screen ends. Raises DisplayError where it has gone already, and what
        `send` raises.
        """
        pixels = FrameBuffer(self._screen)
        try:
            ended = _when_ended(self._screen.pid)
            sending = asyncio.create_task(self._send_news(Frames(pixels)))
            try:
                done, _ = await asyncio.wait([ended, sending], return_when=asyncio.FIRST_COMPLETED)
                if sending in done:
                    sending.result()
            finally:
                ended.cancel()
                sending.cancel()
        finally:
            pixels.close()

    async def _send_news(self, frames: Frames) -> None:
        while True:
            if self._is_looking and self._unseen < UNSEEN:
                message = await asyncio.to_thread(frames.next)
                if message:
                    self._unseen += 1
                    await self._send(message)
                self._pace.looked(changed=bool(message))
                wait: float | None = self._pace.interval
            else:
                wait = None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), wait)
            self._news.clear()


def _when_ended(pid: int) -> asyncio.Future[None]:
    """Done when the process has ended."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        ended.set_result(None)
        return ended

    def close(_: asyncio.Future[None]) -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(descriptor, end)
    ended.add_done_callback(close)
    return ended
