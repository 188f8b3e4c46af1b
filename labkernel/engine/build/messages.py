"""What a stage of a build says, told in its turn: stages run side by side, but a reader follows one.

So the messages of a build come in the order of its Dockerfile, as if its stages were built one after the
other, which is how dockerd's classic builder does it and what its clients read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from labkernel.engine.build.interface import Output, Room

KEPT = 2 << 20
"""Characters of what RUN steps print that a stage keeps while others have their turn; of more, the last are
kept. BuildKit keeps as many of a step (BUILDKIT_STEP_LOG_MAX_SIZE)."""
_OF_A_MESSAGE = 256  # what one takes beside its text, about
_CLIPPED = {"stream": "[output clipped, log limit 2MiB reached]\n"}
_RED, _PLAIN = "\x1b[91m", "\x1b[0m"


class Messages:
    """The messages of one stage, or those that belong to none. Kept until `begin`, told at once from then
    on. Who waits for its turn never waits for `room`: others may need what it holds."""

    def __init__(self, output: Output, room: Room) -> None:
        self._output = output
        self._room = room
        self._kept: deque[tuple[dict[str, Any], int]] = deque()  # with the size of what a RUN step printed
        self._printed = 0
        self._has_begun = False
        self._is_live = asyncio.Event()
        self._ends_a_line = True

    async def begin(self) -> None:
        """It is this stage's turn."""
        self._has_begun = True
        while self._kept:
            message, printed = self._kept.popleft()
            self._printed -= printed
            self._output(message)
            await self._room()
        self._is_live.set()

    async def room(self) -> None:
        """Wait until the reader has caught up."""
        if self._has_begun:
            await self._is_live.wait()
            await self._room()

    def output(self, message: dict[str, Any], *, is_printed: bool = False) -> None:
        """Say something; `is_printed` for what a RUN step does."""
        if "stream" in message:
            self._ends_a_line = message["stream"].removesuffix(_PLAIN).endswith("\n")
        if self._is_live.is_set():
            self._output(message)
        elif not message.get("progressDetail"):  # progress is of the moment
            printed = len(message["stream"]) + _OF_A_MESSAGE if is_printed else 0
            self._kept.append((message, printed))
            self._printed += printed
            if self._printed > KEPT:
                self._clip()

    def _clip(self) -> None:
        """Forget the first half of what was printed."""
        kept: deque[tuple[dict[str, Any], int]] = deque()
        for message, printed in self._kept:
            if printed and self._printed > KEPT // 2:
                self._printed -= printed
                message, printed = _CLIPPED, 0
            if message is not _CLIPPED or not kept or kept[-1][0] is not _CLIPPED:
                kept.append((message, printed))
        self._kept = kept

    def stdout(self, text: str) -> None:
        self.output({"stream": text})

    def stderr(self, text: str) -> None:
        self.output({"stream": f"{_RED}{text}{_PLAIN}"})

    def printed(self, text: str) -> None:
        """What a RUN step writes to its standard output."""
        self.output({"stream": text}, is_printed=True)

    def printed_error(self, text: str) -> None:
        self.output({"stream": f"{_RED}{text}{_PLAIN}"}, is_printed=True)

    def line(self, text: str) -> None:
        """A line of its own, wherever the output was interrupted."""
        self.stdout(f"{text}\n" if self._ends_a_line else f"\n{text}\n")

    def announce(self, number: int, total: int, code: str) -> None:
        self.stdout(f"Step {number}/{total} : {code}")
        self.stdout("\n")
