"""Dockerfile and context -> image.

Stage by stage, step by step: look into the cache, else do the step on its parent's layers and make an image
of it. The messages are those of dockerd's classic builder.
"""

from __future__ import annotations

import asyncio
import errno
import posixpath
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labkernel.engine.build import container_config
from labkernel.engine.build.cache import BuildCache
from labkernel.engine.build.container_config import ConfigError, ConfigState
from labkernel.engine.build.context import BuildContext
from labkernel.engine.build.copying import (
    Heredocs,
    Source,
    combined_key,
    copy,
    select,
)
from labkernel.engine.build.download import check_checksum, download, is_url
from labkernel.engine.build.errors import DockerfileError, did_you_mean
from labkernel.engine.build.instructions import Copy, Instruction, Run, Workdir, instruction
from labkernel.engine.build.interface import (
    BaseImages,
    BuildOptions,
    Output,
    Room,
    RunFailed,
    RunStep,
    StepRunner,
    unlimited,
)
from labkernel.engine.build.mounting import CacheMounts, MountPoints, mount_sources, mounted
from labkernel.engine.build.nodes import Dockerfile, Node
from labkernel.engine.build.parser import parse
from labkernel.engine.build.plan import Plan, Stage, make_plan
from labkernel.engine.build.reading import read_dockerfile
from labkernel.engine.build.recorder import Recorder, Remembering
from labkernel.engine.build.records import BuildRecords
from labkernel.engine.build.rootfs import Rootfs
from labkernel.engine.build.run import Text, code_hint, command, recorded
from labkernel.engine.build.sources import SourceTree
from labkernel.engine.build.steps import (
    Steps,
    comment_command,
    joined_comment_command,
    new_container_id,
    short_id,
)
from labkernel.engine.build.threads import in_thread, temporary
from labkernel.engine.build.users import ownership
from labkernel.engine.build.wasted import wasted_bytes
from labkernel.engine.errors import EngineError, InvalidParameter, System
from labkernel.engine.image.images import Hold, Image, Images
from labkernel.engine.image.platforms import parse_platform
from labkernel.engine.image.reference import Reference, parse_reference

_KEPT = 1 << 20
"""Characters of a quiet build's output."""
_RED, _PLAIN = "\x1b[91m", "\x1b[0m"

_OS_ADVICE = {
    errno.ENOSPC: "the disk with the engine's store is full: remove images that are not needed",
    errno.EDQUOT: "the quota of the engine's store is used up: remove images that are not needed",
}


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
        references = [parse_reference(tag).with_default_tag() for tag in options.tags]
        dockerfile = await in_thread(read_dockerfile, context, options.dockerfile)
        plan = make_plan(
            dockerfile,
            options.build_args,
            target=options.target,
            labels=options.labels,
            platform=options.platform,
        )
        await in_thread(context.apply_dockerignore)
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
                self._tag(image, reference, build.output)
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


@dataclass
class _Position:
    """Where a stage is: the image made last, and the configuration for the next."""

    index: int
    image: Image | None
    state: ConfigState
    may_use_cache: bool
    record: int = -1
    """The recorder's handle of the step under way."""


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
        self._images = builder._images
        self._runner = builder._runner
        self._bases = builder._bases
        self._caches = builder.caches
        self._context = context
        self._options = options
        self._plan = plan
        self._store = builder._images.store
        sources = builder._images.lineage(options.cache_from) if options.cache_from else None
        self._steps = Steps(builder._images, builder._cache, _epoch(options), hold, sources)
        self._results: dict[int, Image | None] = {}
        self._step_number = 0
        self.output = output
        self._room = room
        self._hold = hold
        self._recorder = Recorder(builder.records, self._images, options, plan, context)

    async def run(self) -> Image:
        if self._plan.dockerfile.warnings:
            self._stderr("\n".join(self._plan.dockerfile.warnings) + "\n")
        for arg in self._plan.globals:
            self._announce(arg.code)
        image: Image | None = None
        try:
            for index in self._plan.needed:
                image = await self._result(index)
        finally:
            for message in await in_thread(self._recorder.finish):
                self.output(message)
        unused = self._plan.arguments.unused()
        if unused:
            self._stdout(f"[Warning] One or more build-args [{' '.join(unused)}] were not consumed\n")
        if image is None:
            raise InvalidParameter(
                "No image was generated. Is your Dockerfile empty?", hint="FROM scratch needs a step after it"
            )
        if self._options.explain:
            self.output(await in_thread(wasted_bytes, self._images, image, self._recorder.steps))
        return image

    # --- messages

    def _stdout(self, text: str) -> None:
        self.output({"stream": text})

    def _stderr(self, text: str) -> None:
        self.output({"stream": f"{_RED}{text}{_PLAIN}"})

    def _announce(self, code: str) -> None:
        self._step_number += 1
        self._stdout(f"Step {self._step_number}/{self._plan.steps} : {code}")
        self._stdout("\n")

    # --- stages

    async def _result(self, index: int) -> Image | None:
        if index not in self._results:
            self._results[index] = await self._build_stage(self._plan.stages[index])
        return self._results[index]

    async def _build_stage(self, stage: Stage) -> Image | None:
        self._announce(stage.start.code)
        arguments = self._plan.arguments.begin_stage()
        with _located(self._plan.dockerfile, stage.start.node, stage.start.base):
            image = await self._base(stage)
        self._recorder.base(stage, self._step_number, image, self._earlier(stage))
        config = container_config.stage_config(image.config.get("config") if image else None)
        state = ConfigState(config, arguments, self._plan.dockerfile.escape)
        at = _Position(stage.index, image, state, not self._options.no_cache)
        await self._run_triggers(at)
        self._stdout(f" ---> {short_id(at.image.id) if at.image else ''}\n")
        for step in stage.instructions:
            self._announce(step.code)
            await self._step(at, step)
            self._stdout(f" ---> {short_id(at.image.id) if at.image else ''}\n")
        if at.image:
            self.output({"aux": {"ID": at.image.id}})
        return at.image

    def _earlier(self, stage: Stage) -> Stage | None:
        """The stage that FROM names."""
        earlier = self._plan.stage(stage.base, stage.index)
        return earlier if earlier is not None and earlier.name == stage.base.lower() else None

    async def _base(self, stage: Stage) -> Image | None:
        earlier = self._earlier(stage)
        if earlier is not None:
            return await self._result(earlier.index)
        if stage.base == "scratch":
            return None
        try:
            parse_platform(stage.platform)
        except InvalidParameter as error:
            error.message = f"failed to parse platform {stage.platform}: {error.message}"
            raise
        return await self._find(stage.base, stage.platform or self._options.platform)

    async def _find(self, name: str, platform: str) -> Image:
        image = await self._bases.find(
            name, self.output, platform=platform, pull=self._options.pull, auths=self._options.auths
        )
        return self._hold(image)

    async def _run_triggers(self, at: _Position) -> None:
        """What the base image asks to be done in every build on it (ONBUILD)."""
        triggers = at.state.config["OnBuild"] or []
        at.state.config["OnBuild"] = None
        if not triggers:
            return
        self._stdout(f"# Executing {len(triggers)} build trigger{'s' if len(triggers) > 1 else ''}")
        self._stdout("\n")
        for trigger in triggers:
            dockerfile = parse(trigger)
            if len(dockerfile.nodes) != 1:
                raise InvalidParameter("onbuild trigger should be a single expression")
            await self._step(at, instruction(dockerfile, dockerfile.nodes[0]), dockerfile)

    # --- steps

    async def _step(self, at: _Position, step: Instruction, source: Dockerfile | None = None) -> None:
        at.state.config["Image"] = at.image.id if at.image else ""
        at.record = self._recorder.begin(at.index, self._step_number, step, at.image, at.state)
        with _located(source or self._plan.dockerfile, step.node):
            step = container_config.expanded(step, at.state)
            if isinstance(step, Run):
                await self._run(at, step)
            elif isinstance(step, Copy):
                await self._copy(at, step)
            else:
                await self._configure(at, step)
        self._recorder.end(at.record, at.image)

    def _from_cache(self, at: _Position, command: list[str]) -> bool:
        image = self._steps.cached(at.image, command) if at.may_use_cache else None
        held_back = at.may_use_cache and image is None and self._steps.is_held_back(at.image, command)
        self._recorder.looked_up(at.record, command, cached=image is not None, held_back=held_back)
        if image is None:
            # One step done anew: those after it as well.
            at.may_use_cache = False
            return False
        self._stdout(" ---> Using cache\n")
        at.image = image
        return True

    async def _configure(self, at: _Position, step: Instruction) -> None:
        comment = container_config.apply(step, at.state)
        for note in at.state.notes:
            self._stdout(note)
        at.state.notes.clear()
        is_workdir = isinstance(step, Workdir)
        command = (joined_comment_command if is_workdir else comment_command)(at.state, comment)
        if self._from_cache(at, command):
            return
        container_id = new_container_id()
        if is_workdir:
            # Made before it is announced, as there: a file in the way is reported first.
            await self._in_new_layer(at, command, lambda rootfs: _make_workdir(rootfs, at.state))
        self._stdout(f" ---> Running in {short_id(container_id)}\n")
        if not is_workdir:
            at.image = await in_thread(self._steps.commit, at.image, at.state, command)
        self._removed(container_id)

    def _removed(self, container_id: str) -> None:
        if self._options.remove or self._options.force_remove:
            self._stdout(f"Removing intermediate container {short_id(container_id)}\n")

    async def _in_new_layer(
        self, at: _Position, command: list[str], change: Callable[[Rootfs], None]
    ) -> None:
        """Make the next image of what `change` writes."""

        def work() -> Image:
            with self._store.temporary() as place:
                upper = place / "upper"
                upper.mkdir(mode=0o755)
                change(self._rootfs(at.image, upper))
                return self._steps.commit(at.image, at.state, command, upper)

        at.image = await in_thread(work)

    def _rootfs(self, image: Image | None, upper: Path | None = None) -> Rootfs:
        layers = self._store.layers.directories(image.chain_id if image else None)
        return Rootfs(
            layers, upper=upper, overlay=self._store.overlay, keep_ownership=self._store.keep_ownership
        )

    def _alone(self, rootfs: Rootfs) -> Rootfs:
        """Its upper layer with nothing below: where a file lands then depends on nothing (COPY --link)."""
        return Rootfs(
            (),
            upper=Path(rootfs.top.real),
            overlay=self._store.overlay,
            keep_ownership=self._store.keep_ownership,
        )

    # --- COPY and ADD

    async def _copy(self, at: _Position, step: Copy) -> None:
        async with temporary(self._store) as place:
            sources = [
                *await self._sources(at, step, place),
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
            await in_thread(self._recorder.copying, at.record, key, sources)
            comment = f"{name} {flags}{key} in {step.destination} "
            command = joined_comment_command(at.state, comment)
            if self._from_cache(at, command):
                return
            destination = container_config.joined_path(at.state.config["WorkingDir"], step.destination)
            if step.destination.endswith(("/", "/.")) or step.destination == ".":
                destination = destination.rstrip("/") + "/"

            def change(rootfs: Rootfs) -> None:
                owners = ownership(step, rootfs)
                target = self._alone(rootfs) if step.is_link else rootfs
                copy(target, sources, destination, owners)

            await self._in_new_layer(at, command, change)

    async def _sources(self, at: _Position, step: Copy, place: Path) -> list[Source]:
        name = step.node.name
        if step.stage:
            tree = Remembering(self._rootfs(await self._copied_image(at, step.stage)))
            return await in_thread(
                select,
                tree,
                step.sources,
                instruction=name,
                keeps_parents=step.keeps_parents,
                exclude=step.exclude,
            )
        if step.checksum:
            check_checksum(step.checksum)
        found: list[Source] = []
        for number, source in enumerate(step.sources):
            if not is_url(source):
                if step.checksum:
                    raise InvalidParameter("checksum requires HTTP(S) sources")
                found += await in_thread(
                    select,
                    self._context,
                    [source],
                    instruction=name,
                    may_unpack=step.is_add and step.unpack is not False,
                    keeps_parents=step.keeps_parents,
                    exclude=step.exclude,
                )
            elif step.is_add:
                directory = place / str(number)
                directory.mkdir()
                found.append(
                    await in_thread(
                        download,
                        source,
                        step.destination,
                        directory,
                        self._progress(),
                        checksum=step.checksum,
                        may_unpack=step.unpack is True,
                    )
                )
            else:
                raise InvalidParameter(
                    "COPY failed: source can't be a URL for COPY", hint="ADD can fetch a URL"
                )
        return found

    async def _copied_image(self, at: _Position, name: str) -> Image | None:
        stage = self._plan.stage(name, at.index)
        if stage is not None:
            return await self._result(stage.index)
        if name.isascii() and name.isdigit():
            is_own = int(name[:9]) == at.index
            raise InvalidParameter(
                f"invalid from flag value {name}: "
                + ("refers to current build stage" if is_own else "index out of bounds"),
                hint="stages count from 0, and only earlier ones can be copied from",
            )
        try:
            return await self._find(name, self._options.platform)
        except EngineError as error:
            error.message = f"invalid from flag value {name}: {error.message}"
            names = [stage.name for stage in self._plan.stages[: at.index] if stage.name]
            error.hint = did_you_mean(name, names) or error.hint
            raise

    def _progress(self) -> Callable[[int, int], None]:
        """Progress of a download, reported from its thread to the loop's."""
        loop = asyncio.get_running_loop()

        def report(done: int, expected: int) -> None:
            detail = {"current": done, **({"total": expected} if expected else {})}
            loop.call_soon_threadsafe(self.output, {"status": "Downloading", "progressDetail": detail})

        return report

    # --- RUN

    async def _run(self, at: _Position, step: Run) -> None:
        state = at.state
        arguments = state.arguments.for_environment(state.env)
        async with temporary(self._store) as place, AsyncExitStack() as held:
            args, script, mounts = command(step, state, place)
            shown, binds = await mount_sources(step, lambda name: self._tree(at, name))
            recorded_command = recorded([*shown, *args, *script], arguments, state.arguments)
            if self._from_cache(at, recorded_command):
                return
            upper, work = place / "upper", place / "work"
            upper.mkdir(mode=0o755)
            work.mkdir(mode=0o700)
            if not args:
                raise InvalidParameter("No command specified", hint="RUN needs a command")
            await in_thread(self._ensure_workdir, at, upper)
            points = MountPoints(self._rootfs(at.image, upper), upper)
            workdir = state.config["WorkingDir"]
            paths = await self._caches.directories(step.mounts, binds, place, held)
            mounts += await in_thread(mounted, step.mounts, paths, points, workdir)
            made = points.made()
            host_config = self._options.host_config
            if step.network:
                host_config = {**host_config, "NetworkMode": step.network}
            run_step = RunStep(
                container_id=new_container_id(),
                image=at.image,
                layers=self._store.layers.directories(at.image.chain_id if at.image else None),
                upper=upper,
                work=work,
                args=args,
                env=[
                    *(state.config["Env"] or []),
                    *(f"{name}={value}" for name, value in arguments.items()),
                ],
                cwd=state.config["WorkingDir"] or "/",
                user=state.config["User"],
                hostname="",
                host_config=host_config,
                mounts=mounts,
            )
            run_step = replace(run_step, hostname=short_id(run_step.container_id))
            self._stdout(f" ---> Running in {short_id(run_step.container_id)}\n")
            try:
                await self._execute(run_step)
            except BaseException:
                if self._options.force_remove:
                    self._stdout(f"Removing intermediate container {short_id(run_step.container_id)}\n")
                raise
            await in_thread(points.remove, made)
            at.image = await in_thread(self._steps.commit, at.image, state, recorded_command, upper)
            self._removed(run_step.container_id)

    async def _tree(self, at: _Position, name: str) -> SourceTree:
        return self._rootfs(await self._copied_image(at, name)) if name else self._context

    def _ensure_workdir(self, at: _Position, upper: Path) -> None:
        """A working directory that an earlier step removed is made again, as at every start of a
        container."""
        rootfs = self._rootfs(at.image, upper)
        if not rootfs.resolve(at.state.config["WorkingDir"]).exists:
            _make_workdir(rootfs, at.state)

    async def _execute(self, step: RunStep) -> None:
        stdout, stderr = Text(self._stdout), Text(self._stderr)
        code = await self._runner.run(step, stdout.write, stderr.write, self._room)
        stdout.end()
        stderr.end()
        if code:
            raise RunFailed(step.args, code, code_hint(code))


@contextmanager
def _located(source: Dockerfile, node: Node, mark: str | None = None) -> Iterator[None]:
    """Whatever goes wrong inside, its hint shows the line."""
    try:
        yield
    except ConfigError as error:
        raise source.error(node, str(error), mark=mark) from None
    except DockerfileError:
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise System(
            f"{node.name} failed: {reason}",
            hint=source.error(node, reason, advice=_OS_ADVICE.get(error.errno or 0), mark=mark).hint,
        ) from error
    except EngineError as error:
        error.hint = source.error(node, error.message, advice=error.hint, mark=mark).hint
        raise


def _make_workdir(rootfs: Rootfs, state: ConfigState) -> None:
    path = state.config["WorkingDir"]
    try:
        rootfs.make_directories(posixpath.normpath(path))
    except NotADirectoryError:
        raise InvalidParameter(
            f"Cannot mkdir: {path} is not a directory",
            hint="WORKDIR needs a folder, or a name not yet in use",
        ) from None


def _epoch(options: BuildOptions) -> int | None:
    """SOURCE_DATE_EPOCH (reproducible-builds.org/specs/source-date-epoch), given as a build argument."""
    text = options.build_args.get("SOURCE_DATE_EPOCH")
    if text is None or text == "":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise InvalidParameter(f"invalid SOURCE_DATE_EPOCH: {text}", hint="a number of seconds since 1970")
    return int(text)
