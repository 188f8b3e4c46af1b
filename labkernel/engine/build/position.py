"""Where the build of a stage is, and what every kind of step does from there.

It looks into the cache, writes a new layer, makes the next image.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from labkernel.engine.build.bind_mounts import ContextFiles
from labkernel.engine.build.container_config import ConfigState
from labkernel.engine.build.context import BuildContext
from labkernel.engine.build.doing import Doing
from labkernel.engine.build.errors import did_you_mean
from labkernel.engine.build.interface import BaseImages, BuildOptions, StepRunner
from labkernel.engine.build.messages import Messages
from labkernel.engine.build.mounting import CacheMounts
from labkernel.engine.build.plan import Plan
from labkernel.engine.build.recorder import Recorder
from labkernel.engine.build.rootfs import Rootfs, rootfs_of
from labkernel.engine.build.sources import SourceTree
from labkernel.engine.build.steps import Steps, short_id
from labkernel.engine.build.threads import in_thread
from labkernel.engine.errors import EngineError, InvalidParameter
from labkernel.engine.image.images import Hold, Image
from labkernel.engine.image.store import Store


@dataclass(frozen=True)
class Common:
    """What all steps of one build share. `result` gives the image of a stage, by its index, for who has these
    messages."""

    store: Store
    runner: StepRunner
    bases: BaseImages
    caches: CacheMounts
    context: BuildContext
    context_files: ContextFiles
    options: BuildOptions
    plan: Plan
    steps: Steps
    hold: Hold
    recorder: Recorder
    result: Callable[[int, Messages], Awaitable[Image | None]]
    doing: Doing
    finding: dict[tuple[str, str], asyncio.Lock] = field(default_factory=dict)
    built_on: dict[int, Image | None] = field(default_factory=dict)
    """What the stages are built on, by their index."""

    async def find(self, name: str, platform: str, messages: Messages) -> Image:
        """The image that FROM or `COPY --from` names, held until the build ends."""
        options = self.options
        async with self.finding.setdefault((name, platform), asyncio.Lock()):  # it is fetched once
            image = await self.bases.find(
                name, messages.output, platform=platform, pull=options.pull, auths=options.auths
            )
        return self.hold(image)


@dataclass
class Position:
    """A stage's image made last, and the configuration for the next. `record` is the recorder's handle of the
    step under way, `held` what it has until its end."""

    common: Common
    messages: Messages
    index: int
    image: Image | None
    state: ConfigState
    may_use_cache: bool
    record: int = -1
    held: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def from_cache(self, command: Sequence[str]) -> bool:
        """Whether the step has been done before: then its image is the stage's. If not, the step is the
        caller's to do, now that there is a processor for it."""
        steps, step = self.common.steps, (self.image.id if self.image else "", tuple(command))
        if self.may_use_cache:
            await self.common.doing.equal(step)
        image = steps.cached(self.image, command) if self.may_use_cache else None
        held_back = self.may_use_cache and image is None and steps.is_held_back(self.image, command)
        self.common.recorder.looked_up(self.record, command, cached=image is not None, held_back=held_back)
        if image is None:
            # One step done anew: those after it as well.
            self.may_use_cache = False
            await self.held.enter_async_context(self.common.doing.step(step))
            return False
        self.messages.stdout(" ---> Using cache\n")
        self.image = image
        return True

    async def commit(self, command: Sequence[str], upper: Path | None = None) -> None:
        """Make the next image; `upper` becomes its layer unless it is empty."""
        self.image = await in_thread(self.common.steps.commit, self.image, self.state, command, upper)

    async def in_new_layer(self, command: Sequence[str], change: Callable[[Rootfs], None]) -> None:
        """Make the next image of what `change` writes."""

        def work() -> Image:
            with self.common.store.temporary() as place:
                upper = place / "upper"
                upper.mkdir(mode=0o755)
                change(self.rootfs(upper))
                return self.common.steps.commit(self.image, self.state, command, upper)

        self.image = await in_thread(work)

    def rootfs(self, upper: Path | None = None) -> Rootfs:
        return rootfs_of(self.common.store, self.image, upper)

    async def tree(self, name: str) -> SourceTree:
        """The files of the stage or the image of that name; "" is the context."""
        if not name:
            return self.common.context
        return rootfs_of(self.common.store, await self._image_named(name))

    def alone(self, rootfs: Rootfs) -> Rootfs:
        """Its upper layer with nothing below: where a file lands then depends on nothing (COPY --link)."""
        return rootfs_of(self.common.store, upper=Path(rootfs.top.real))

    def removed(self, container_id: str) -> None:
        if self.common.options.remove or self.common.options.force_remove:
            self.messages.stdout(f"Removing intermediate container {short_id(container_id)}\n")

    async def _image_named(self, name: str) -> Image | None:
        plan = self.common.plan
        stage = plan.stage(name, self.index)
        if stage is not None:
            return await self.common.result(stage.index, self.messages)
        if name.isascii() and name.isdigit():
            is_own = int(name[:9]) == self.index
            raise InvalidParameter(
                f"invalid from flag value {name}: "
                + ("refers to current build stage" if is_own else "index out of bounds"),
                hint="stages count from 0, and only earlier ones can be copied from",
            )
        if (stage := plan.stage_not_yet(name, self.index)) is not None:
            is_own = stage.index == self.index
            raise InvalidParameter(
                f"invalid from flag value {name}: "
                + ("refers to current build stage" if is_own else "the stage begins only later"),
                hint=f"stage {name} begins in line {stage.start.node.line}: copy from one above",
            )
        try:
            return await self.common.find(name, self.common.options.platform, self.messages)
        except EngineError as error:
            error.message = f"invalid from flag value {name}: {error.message}"
            names = [stage.name for stage in plan.stages[: self.index] if stage.name]
            error.hint = did_you_mean(name, names) or error.hint
            raise
