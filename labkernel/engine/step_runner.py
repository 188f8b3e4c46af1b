"""Processes that are no container of the user's: the RUN steps of a build, and the making of a base image."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import signal
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from labkernel.engine.build.interface import Room, RunStep, unlimited
from labkernel.engine.containers import config as container_config
from labkernel.engine.containers.bundle import ROOT, resource_limits, resources, save, write_etc
from labkernel.engine.containers.lifecycle import start_error
from labkernel.engine.containers.stdio import Stdio
from labkernel.engine.image.store import Store
from labkernel.engine.linux.memory import in_memory
from labkernel.engine.network.networks import Networks
from labkernel.engine.runtime.client import Launcher, StartFailed
from labkernel.engine.runtime.spec import Mount, Overlay, SpecOptions


def _bundle(place: Path, step: RunStep) -> AbstractContextManager[Path]:
    """Where what the container is made from is written: with secrets among it, in memory."""
    return in_memory(place / "private") if step.is_private else nullcontext(place)


class StepRunner:
    """Implements `build.interface.StepRunner` and `catalog.made.RunInRootfs`."""

    def __init__(self, launcher: Launcher, networks: Networks, store: Store, init_layer: Path) -> None:
        self._launcher = launcher
        self._networks = networks
        self._store = store
        self._init_layer = init_layer

    async def run(
        self, step: RunStep, stdout: Callable[[bytes], None], stderr: Callable[[bytes], None], room: Room
    ) -> int:
        """Run one RUN step; its exit code. Cancelled, it ends the container first."""
        config, host_config = container_config.complete({"HostConfig": step.host_config})
        config["Hostname"] = step.hostname
        limits = resources(host_config)
        for warning in [
            *container_config.validate(config, host_config),
            *self._launcher.unenforceable(limits),
        ]:
            stdout(f" ---> [Warning] {warning}\n".encode())
        mode = host_config["NetworkMode"]
        if mode == "default" and not await self._networks.reaches_world():
            # An ordinary user without pasta. A step is run for what it fetches, as the user's own process.
            mode = "host"
        sandbox = await self._networks.connect(step.container_id, mode, name=step.container_id[:12])
        try:
            with self._store.temporary() as place, _bundle(place, step) as directory:
                mounts = [
                    *write_etc(directory, sandbox, config, host_config),
                    *(Mount(m.destination, str(m.source), m.type, m.options) for m in step.mounts),
                ]
                options = SpecOptions(
                    args=step.args,
                    env=step.env,
                    cwd=step.cwd,
                    user=step.user or ROOT,
                    hostname=step.hostname,
                    overlay=Overlay(
                        [str(path) for path in (self._init_layer, *step.layers)],
                        str(step.upper),
                        str(step.work),
                    ),
                    mounts=mounts,
                    network=sandbox.netns_path or "host",
                    resources=limits,
                    rlimits=resource_limits(host_config),
                    shm_size=host_config["ShmSize"],
                )
                save(directory, options)
                return await self._run(step.container_id, directory, stdout, stderr, room)
        finally:
            await self._networks.disconnect(step.container_id)

    async def in_rootfs(
        self,
        rootfs: Path,
        args: Sequence[str],
        env: Sequence[str],
        *,
        network: bool,
        output: Callable[[bytes], None],
    ) -> int:
        """Run a program as root in a root file system that is being made; with `network` on the host's."""
        container_id = secrets.token_hex(32)
        with self._store.temporary() as directory:
            mounts = []
            if network:
                shutil.copyfile("/etc/resolv.conf", directory / "resolv.conf")
                mounts.append(Mount("/etc/resolv.conf", str(directory / "resolv.conf"), "bind", ("ro",)))
            options = SpecOptions(
                args=args,
                env=env,
                rootfs=str(rootfs),
                hostname="labkernel",
                mounts=mounts,
                network="host" if network else "",
            )
            save(directory, options)
            return await self._run(container_id, directory, output, output)

    async def _run(
        self,
        container_id: str,
        bundle: Path,
        stdout: Callable[[bytes], None],
        stderr: Callable[[bytes], None],
        room: Room = unlimited,
    ) -> int:
        stdio = Stdio(terminal=False, stdin=False)
        tap = stdio.tap()
        descriptors = stdio.open()
        try:
            started = await self._launcher.run(container_id, bundle, *descriptors)
        except BaseException as error:
            stdio.failed()
            if isinstance(error, StartFailed):
                raise start_error(error) from None
            raise
        stdio.started(None)

        async def forward() -> None:
            while piece := await tap.read():
                stream, data = piece
                (stdout if stream == "stdout" else stderr)(data)
                await room()

        forwarding = asyncio.ensure_future(forward())
        try:
            await asyncio.wait({started.exited})
            code = started.exited.result()
            await stdio.finish()
            await forwarding
            return code
        except BaseException:  # cancelled, even while the last output waits for its reader
            forwarding.cancel()
            stdio.untap(tap)
            self._launcher.kill(container_id, signal.SIGKILL)
            await asyncio.wait({started.exited})
            await stdio.finish()
            raise
