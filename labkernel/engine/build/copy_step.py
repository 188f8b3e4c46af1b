"""COPY and ADD: files of the context, a stage, an image, an address or the Dockerfile -> the next layer."""

from __future__ import annotations

from contextlib import AsyncExitStack

from labkernel.engine.build import container_config
from labkernel.engine.build.copying import Heredocs, Source, combined_key, copy, select
from labkernel.engine.build.download import check_checksum, download, is_url
from labkernel.engine.build.git import is_git_source
from labkernel.engine.build.git_source import git_source
from labkernel.engine.build.instructions import Copy
from labkernel.engine.build.position import Position
from labkernel.engine.build.recorder import Remembering
from labkernel.engine.build.rootfs import Rootfs
from labkernel.engine.build.steps import joined_comment_command
from labkernel.engine.build.threads import in_thread, temporary
from labkernel.engine.build.users import ownership
from labkernel.engine.build.web import reporter
from labkernel.engine.errors import InvalidParameter


async def copy_step(at: Position, step: Copy) -> None:
    async with AsyncExitStack() as opened:
        sources = [
            *await _sources(at, step, opened),
            *Heredocs({h.name: h.text.encode("utf-8", "replace") for h in step.heredocs}).sources(),
        ]
        name = step.node.name
        if len(sources) > 1 and not step.keeps_parents and not step.destination.endswith("/"):
            raise InvalidParameter(
                f"When using {name} with more than one source file, the destination must be a directory "
                "and end with a /"
            )
        # dockerd leaves no space between the owner and what follows it.
        flags = f"--chown={step.chown}" if step.chown else ""
        flags += f"{' ' if flags else ''}--chmod={step.chmod} " if step.chmod else ""
        flags += "--link " if step.is_link else ""
        key = combined_key(sources)
        await in_thread(at.common.recorder.copying, at.record, key, sources)
        comment = f"{name} {flags}{key} in {step.destination} "
        command = joined_comment_command(at.state, comment)
        if await at.from_cache(command):
            return
        destination = container_config.joined_path(at.state.config["WorkingDir"], step.destination)
        if step.destination.endswith(("/", "/.")) or step.destination == ".":
            destination = destination.rstrip("/") + "/"

        def change(rootfs: Rootfs) -> None:
            owners = ownership(step, rootfs)
            target = at.alone(rootfs) if step.is_link else rootfs
            copy(target, sources, destination, owners)

        await at.in_new_layer(command, change)


async def _sources(at: Position, step: Copy, opened: AsyncExitStack) -> list[Source]:
    name = step.node.name
    if step.stage:
        tree = Remembering(await at.tree(step.stage))
        return await in_thread(
            select,
            tree,
            step.sources,
            instruction=name,
            keeps_parents=step.keeps_parents,
            exclude=step.exclude,
        )
    found: list[Source] = []
    for source in step.sources:
        if is_git_source(source):
            directory = await opened.enter_async_context(temporary(at.common.store))
            found += await git_source(step, source, directory, at.common.store, opened)
        elif not is_url(source):
            if step.checksum:
                raise InvalidParameter("checksum requires HTTP(S) or Git sources")
            found += await in_thread(
                select,
                at.common.context,
                [source],
                instruction=name,
                may_unpack=step.is_add and step.unpack is not False,
                keeps_parents=step.keeps_parents,
                exclude=step.exclude,
            )
        elif step.is_add:
            if step.checksum:
                check_checksum(step.checksum)
            directory = await opened.enter_async_context(temporary(at.common.store))
            found.append(
                await download(
                    source,
                    step.destination,
                    directory,
                    reporter(at.messages.output, "Downloading"),
                    checksum=step.checksum,
                    may_unpack=step.unpack is True,
                )
            )
        else:
            raise InvalidParameter("COPY failed: source can't be a URL for COPY", hint="ADD can fetch a URL")
    return found
