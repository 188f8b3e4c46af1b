"""Dockerfile and context -> image: read, plan, build the stages, tag.

Step by step, stages beside each other: look into the cache, else do the step on its parent's layers and make
an image of it. The messages are those of dockerd's classic builder.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from labkernel.engine.build.bind_mounts import ContextFiles
from labkernel.engine.build.cache import BuildCache
from labkernel.engine.build.context import BuildContext
from labkernel.engine.build.doing import Doing
from labkernel.engine.build.interface import BaseImages, BuildOptions, Output, Room, StepRunner, unlimited
from labkernel.engine.build.messages import Messages
from labkernel.engine.build.mounting import CacheMounts
from labkernel.engine.build.outline import OUTLINE, outline
from labkernel.engine.build.plan import Plan, Stage, make_plan
from labkernel.engine.build.position import Common
from labkernel.engine.build.reading import read_dockerfile
from labkernel.engine.build.recorder import Recorder
from labkernel.engine.build.records import BuildRecords
from labkernel.engine.build.squash import squash
from labkernel.engine.build.stage import build_stage
from labkernel.engine.build.stages import Stages
from labkernel.engine.build.steps import Steps, short_id
from labkernel.engine.build.teaching import Lesson, teaching
from labkernel.engine.build.threads import in_thread
from labkernel.engine.build.wasted import wasted_bytes
from labkernel.engine.errors import InvalidParameter
from labkernel.engine.image.images import Hold, Image, Images
from labkernel.engine.image.reference import Reference, parse_reference

_KEPT = 1 << 20
"""Characters of a quiet build's output."""


class Builder:
    """Builds into an image store. Several builds may run at once."""

    def __init__(self, images: Images, runner: StepRunner, bases: BaseImages) -> None:
        self._images = images
        self._runner = runner
        self._bases = bases
        self._cache = BuildCache(images.store.database, images)
        self.records = BuildRecords(images.store.database)
        self.caches = CacheMounts(images.store)

    async def build(
        self, context: BuildContext, options: BuildOptions, output: Output, room: Room = unlimited
    ) -> str:
        """Build and tag; the answer is the image id. `output` gets the API's messages as they arise; what
        RUN prints waits for `room`.

        Raises EngineError: before any output for what can be known before (the API answers with a status),
        later in the middle of it (the API ends the stream with `interface.error_message`). Cancelled or
        killed, it leaves nothing but the images of completed steps.
        """
        with teaching(context, options) as lesson:
            return await self._build(context, options, output, room, lesson)

    async def _build(
        self, context: BuildContext, options: BuildOptions, output: Output, room: Room, lesson: Lesson
    ) -> str:
        references = [parse_reference(tag).with_default_tag() for tag in options.tags]
        dockerfile = await in_thread(read_dockerfile, context, options.dockerfile)
        plan = lesson.plan = make_plan(
            dockerfile,
            options.build_args,
            target=options.target,
            labels=options.labels,
            platform=options.platform,
        )
        await in_thread(context.apply_dockerignore, options.dockerfile)
        kept = _Kept()
        said, said_room = (kept.add, unlimited) if options.quiet else (output, room)
        with self._images.holding() as hold:
            build = _Build(self, context, options, plan, said, said_room, hold)
            try:
                image = await build.run()
            except BaseException:
                for message in kept.messages:
                    output(message)
                raise
            if options.quiet:
                output({"stream": f"{image.id}\n"})
            else:
                output({"stream": f"Successfully built {short_id(image.id)}\n"})
            for reference in references:
                self._tag(image, reference, said)
        return image.id

    def _tag(self, image: Image, reference: Reference, output: Output) -> None:
        self._images.tag(image.id, reference)
        output({"stream": f"Successfully tagged {reference.familiar}\n"})


class _Kept:
    """What a quiet build says: shown if it fails, and then the last of it."""

    def __init__(self) -> None:
        self.messages: deque[dict[str, Any]] = deque()
        self._size = 0

    def add(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        self._size += len(message.get("stream", ""))
        while self._size > _KEPT:
            self._size -= len(self.messages.popleft().get("stream", ""))


class _Build:
    """One build."""

    def __init__(
        self,
        builder: Builder,
        context: BuildContext,
        options: BuildOptions,
        plan: Plan,
        output: Output,
        room: Room,
        hold: Hold,
    ) -> None:
        images = builder._images
        sources = images.lineage(options.cache_from) if options.cache_from else None
        self._images = images
        self._plan = plan
        self._stages = Stages(plan, output, room, self._build_stage)
        self._common = Common(
            store=images.store,
            runner=builder._runner,
            bases=builder._bases,
            caches=builder.caches,
            context=context,
            context_files=ContextFiles(images.store),
            options=options,
            plan=plan,
            steps=Steps(images, builder._cache, _epoch(options), hold, sources),
            hold=hold,
            recorder=Recorder(builder.records, images, options, plan, context),
            result=self._stages.result,
            doing=Doing(),
        )
        self._messages = Messages(output, room)

    async def run(self) -> Image:
        plan, messages, recorder = self._plan, self._messages, self._common.recorder
        await messages.begin()
        if plan.dockerfile.warnings:
            messages.stderr("\n".join(plan.dockerfile.warnings) + "\n")
        if self._common.options.explain:
            messages.output({"aux": {OUTLINE: outline(plan)}})
        for number, arg in enumerate(plan.globals, 1):
            messages.announce(number, plan.steps, arg.code)
        try:
            image = await self._stages.run()
        finally:
            await self._common.context_files.close()
            for message in await in_thread(recorder.finish):
                messages.output(message)
        unused = plan.arguments.unused()
        if unused:
            messages.stdout(f"[Warning] One or more build-args [{' '.join(unused)}] were not consumed\n")
        if image is None:
            raise InvalidParameter(
                "No image was generated. Is your Dockerfile empty?", hint="FROM scratch needs a step after it"
            )
        if self._common.options.explain:
            messages.output(await in_thread(wasted_bytes, self._images, image, recorder.steps))
        if self._common.options.squash:
            base = self._common.built_on.get(plan.needed[-1])
            steps = self._common.steps
            squashed = await in_thread(squash, self._images, image, base, steps.created(), steps.epoch)
            image = self._common.hold(squashed)
            messages.output({"aux": {"ID": image.id}})
        return image

    async def _build_stage(self, stage: Stage, messages: Messages) -> Image | None:
        return await build_stage(self._common, stage, messages)


def _epoch(options: BuildOptions) -> int | None:
    """SOURCE_DATE_EPOCH (reproducible-builds.org/specs/source-date-epoch), given as a build argument."""
    text = options.build_args.get("SOURCE_DATE_EPOCH")
    if text is None or text == "":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise InvalidParameter(f"invalid SOURCE_DATE_EPOCH: {text}", hint="a number of seconds since 1970")
    return int(text)
