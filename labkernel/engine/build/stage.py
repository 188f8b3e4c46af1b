"""One stage: its base image, what that one asks for (ONBUILD), then its instructions one after the other."""

from __future__ import annotations

from contextlib import AsyncExitStack

from labkernel.engine.build import container_config
from labkernel.engine.build.container_config import ConfigState
from labkernel.engine.build.copy_step import copy_step
from labkernel.engine.build.instructions import Copy, Instruction, Run, Workdir, instruction
from labkernel.engine.build.located import located, prefixed
from labkernel.engine.build.messages import Messages
from labkernel.engine.build.nodes import Dockerfile
from labkernel.engine.build.parser import parse
from labkernel.engine.build.plan import Stage
from labkernel.engine.build.position import Common, Position
from labkernel.engine.build.run_step import run_step
from labkernel.engine.build.steps import comment_command, joined_comment_command, new_container_id, short_id
from labkernel.engine.build.workdir import make_workdir
from labkernel.engine.errors import InvalidParameter
from labkernel.engine.image.images import Image
from labkernel.engine.image.platforms import parse_platform


async def build_stage(common: Common, stage: Stage, messages: Messages) -> Image | None:
    """Build a stage; None if it is empty on scratch. Raises EngineError with the line in its hint."""
    plan = common.plan
    number = plan.number(stage)
    messages.announce(number, plan.steps, stage.start.code)
    arguments = plan.arguments.begin_stage()
    with located(plan.dockerfile, stage.start.node, stage.start.base):
        image = await _base(common, stage, messages)
    common.built_on[stage.index] = image
    common.recorder.base(stage, number, image, plan.base_stage(stage))
    config = container_config.stage_config(image.config.get("config") if image else None)
    state = ConfigState(config, arguments, plan.dockerfile.escape)
    at = Position(common, messages, stage.index, image, state, not common.options.no_cache)
    await _run_triggers(at, number)
    messages.stdout(f" ---> {short_id(at.image.id) if at.image else ''}\n")
    for step in stage.instructions:
        number += 1
        messages.announce(number, plan.steps, step.code)
        await _step(at, number, step, plan.dockerfile)
        messages.stdout(f" ---> {short_id(at.image.id) if at.image else ''}\n")
    if at.image:
        messages.output({"aux": {"ID": at.image.id}})
    return at.image


async def _base(common: Common, stage: Stage, messages: Messages) -> Image | None:
    earlier = common.plan.base_stage(stage)
    if earlier is not None:
        return await common.result(earlier.index, messages)
    if stage.base == "scratch":
        return None
    with prefixed(f"failed to parse platform {stage.platform}"):
        parse_platform(stage.platform)
    return await common.find(stage.base, stage.platform or common.options.platform, messages)


async def _run_triggers(at: Position, number: int) -> None:
    """What the base image asks to be done in every build on it (ONBUILD)."""
    triggers = at.state.config["OnBuild"] or []
    at.state.config["OnBuild"] = None
    if not triggers:
        return
    at.messages.stdout(f"# Executing {len(triggers)} build trigger{'s' if len(triggers) > 1 else ''}")
    at.messages.stdout("\n")
    for trigger in triggers:
        dockerfile = parse(trigger)
        if len(dockerfile.nodes) != 1:
            raise InvalidParameter("onbuild trigger should be a single expression")
        await _step(at, number, instruction(dockerfile, dockerfile.nodes[0]), dockerfile)


async def _step(at: Position, number: int, step: Instruction, source: Dockerfile) -> None:
    """One instruction, of the Dockerfile or of a base image's triggers."""
    recorder = at.common.recorder
    at.state.config["Image"] = at.image.id if at.image else ""
    at.record = recorder.begin(at.index, number, step, at.image, at.state)
    async with AsyncExitStack() as at.held:
        with located(source, step.node):
            step = container_config.expanded(step, at.state)
            if isinstance(step, Run):
                await run_step(at, step)
            elif isinstance(step, Copy):
                await copy_step(at, step)
            else:
                await _configure(at, step)
    recorder.end(at.record, at.image)


async def _configure(at: Position, step: Instruction) -> None:
    """An instruction that changes the configuration only; WORKDIR makes its directory as well."""
    comment = container_config.apply(step, at.state)
    for note in at.state.notes:
        at.messages.stdout(note)
    at.state.notes.clear()
    is_workdir = isinstance(step, Workdir)
    command = (joined_comment_command if is_workdir else comment_command)(at.state, comment)
    if await at.from_cache(command):
        return
    container_id = new_container_id()
    if is_workdir:
        # Made before it is announced, as there: a file in the way is reported first.
        await at.in_new_layer(command, lambda rootfs: make_workdir(rootfs, at.state))
    at.messages.stdout(f" ---> Running in {short_id(container_id)}\n")
    if not is_workdir:
        await at.commit(command)
    at.removed(container_id)
