"""RUN: a command in a container on the image made last; what it wrote is the next layer."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from labkernel.engine.build.instructions import Run
from labkernel.engine.build.interface import RunFailed, RunStep
from labkernel.engine.build.mounting import MountPoints, mount_sources, mounted
from labkernel.engine.build.position import Position
from labkernel.engine.build.private_mounts import private_mounts
from labkernel.engine.build.run import Tail, Text, command, recorded, script_mount
from labkernel.engine.build.steps import new_container_id, short_id
from labkernel.engine.build.threads import in_thread, temporary
from labkernel.engine.build.workdir import make_workdir
from labkernel.engine.errors import InvalidParameter


async def run_step(at: Position, step: Run) -> None:
    common, state = at.common, at.state
    arguments = state.arguments.for_environment(state.env)
    async with AsyncExitStack() as held:
        args, script = command(step, state)
        shown, binds = await mount_sources(step, at.tree, common.caches.known)
        shown_files = [
            (mount, source)
            for mount, source in zip(step.mounts, binds, strict=True)
            if mount.type == "bind" and source is not None
        ]
        if shown_files:
            await in_thread(common.recorder.binding, at.record, shown_files)
        recorded_command = recorded([*shown, *args, *script], arguments, state.arguments)
        if await at.from_cache(recorded_command):
            return
        place = await held.enter_async_context(temporary(common.store))
        upper, work = place / "upper", place / "work"
        upper.mkdir(mode=0o755)
        work.mkdir(mode=0o700)
        if not args:
            raise InvalidParameter("No command specified", hint="RUN needs a command")
        await in_thread(_ensure_workdir, at, upper)
        points = MountPoints(at.rootfs(upper), upper)
        workdir = state.config["WorkingDir"]
        paths = await common.caches.directories(step.mounts, binds, place, held, common.context_files)
        mounts = [script_mount(args[0], text, place) for text in script]
        mounts += await in_thread(mounted, step.mounts, paths, points, workdir)
        private = await held.enter_async_context(
            private_mounts(
                step.mounts, common.options, place / "private", keep_ownership=common.store.keep_ownership
            )
        )
        mounts += await in_thread(private.place, points, workdir)
        made = points.made()
        host_config = common.options.host_config
        if step.network:
            host_config = {**host_config, "NetworkMode": step.network}
        container_id = new_container_id()
        container = RunStep(
            container_id=container_id,
            image=at.image,
            layers=common.store.layers.directories(at.image.chain_id if at.image else None),
            upper=upper,
            work=work,
            args=args,
            env=[
                *(state.config["Env"] or []),
                *(f"{name}={value}" for name, value in arguments.items()),
                *private.environment,
            ],
            cwd=workdir or "/",
            user=state.config["User"],
            hostname=short_id(container_id),
            host_config=host_config,
            mounts=mounts,
            is_private=bool(private.environment),
        )
        at.messages.stdout(f" ---> Running in {short_id(container_id)}\n")
        try:
            await _execute(at, container)
        except BaseException:
            if common.options.force_remove:
                at.messages.stdout(f"Removing intermediate container {short_id(container_id)}\n")
            raise
        await in_thread(points.remove, made)
        await at.commit(recorded_command, upper)
        at.removed(container_id)


def _ensure_workdir(at: Position, upper: Path) -> None:
    """A working directory that an earlier step removed is made again, as at every start of a
    container."""
    rootfs = at.rootfs(upper)
    if not rootfs.resolve(at.state.config["WorkingDir"]).exists:
        make_workdir(rootfs, at.state)


async def _execute(at: Position, step: RunStep) -> None:
    tail = Tail()
    stdout, stderr = Text(tail.kept(at.messages.printed)), Text(tail.kept(at.messages.printed_error))
    code = await at.common.runner.run(step, stdout.write, stderr.write, at.messages.room)
    stdout.end()
    stderr.end()
    if code:
        raise RunFailed(step.args, code, tail.text)
