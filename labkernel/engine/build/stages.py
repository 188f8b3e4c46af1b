"""The stages that a build needs, side by side: all begin at once, and wait where they need another's image.

So the graph of a build is what its stages ask for: FROM, COPY --from, RUN --mount=from, and what the triggers
of a base image (ONBUILD) name, which nobody knows before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from labkernel.engine.build.interface import Output, Room
from labkernel.engine.build.messages import Messages
from labkernel.engine.build.plan import Plan, Stage
from labkernel.engine.image.images import Image

#: Builds a stage, and gives its image: None if it is empty on scratch.
BuildStage = Callable[[Stage, Messages], Awaitable[Image | None]]


class Stages:
    """The stages of one build. A stage depends on earlier ones only, so none waits for ever."""

    def __init__(self, plan: Plan, output: Output, room: Room, build: BuildStage) -> None:
        self._plan = plan
        self._output = output
        self._room = room
        self._build = build
        self._messages: dict[int, Messages] = {}
        self._tasks: dict[int, asyncio.Task[Image | None]] = {}
        self._failed: Stage | None = None

    async def run(self) -> Image | None:
        """Build all that the target needs; its image. The first stage that fails ends the others, and its
        error is raised. Cancelled, all of them end first."""
        for index in self._plan.needed:
            self._begin(index, Messages(self._output, self._room))
        try:
            image: Image | None = None
            for index in self._plan.needed:
                messages, task = self._messages[index], self._tasks[index]
                await messages.begin()
                await asyncio.wait({task})
                if self._failed not in (None, self._plan.stages[index]) and _came_to_nothing(task):
                    messages.line(f" ---> Not finished: {self._failed.title} has failed")
                else:
                    image = task.result()
            if self._failed is not None:  # one that was not planned
                return self._tasks[self._failed.index].result()
            return image
        finally:
            self._cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def result(self, index: int, messages: Messages) -> Image | None:
        """The image of a stage, once it is built. One that is not planned is built now, and speaks through
        the `messages` of the stage that asks."""
        if index not in self._tasks:
            self._begin(index, messages)
        task = self._tasks[index]
        await asyncio.wait({task})
        return task.result()

    def _begin(self, index: int, messages: Messages) -> None:
        self._messages[index] = messages
        self._tasks[index] = asyncio.create_task(self._one(self._plan.stages[index], messages))

    async def _one(self, stage: Stage, messages: Messages) -> Image | None:
        try:
            return await self._build(stage, messages)
        except Exception:
            if self._failed is None:
                self._failed = stage
                self._cancel(stage.index)
            raise

    def _cancel(self, but: int = -1) -> None:
        for index, task in self._tasks.items():
            if index != but and not task.cancelling():
                task.cancel()


def _came_to_nothing(task: asyncio.Task[Image | None]) -> bool:
    return task.cancelled() or task.exception() is not None
