"""RunInRootfs by our own launcher, as the engine has it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from labkernel.engine.catalog.made import RunInRootfs
from labkernel.engine.runtime.client import Launcher
from labkernel.engine.runtime.spec import Mount, SpecOptions, runtime_spec


@asynccontextmanager
async def launching() -> AsyncIterator[RunInRootfs]:
    with TemporaryDirectory() as state:
        launcher = await Launcher.start(Path(state))
        number = 0

        async def run(
            rootfs: Path,
            args: Sequence[str],
            env: Sequence[str],
            *,
            network: bool,
            output: Callable[[bytes], None],
        ) -> int:
            nonlocal number
            number += 1
            bundle = Path(state, f"bundle{number}")
            bundle.mkdir()
            # The resolver's addresses come with the network, as an engine gives them to a build's steps.
            mounts = [Mount("/etc/resolv.conf", "/etc/resolv.conf", options=("ro",))] if network else []
            options = SpecOptions(
                args=args, env=env, rootfs=str(rootfs), mounts=mounts, network="host" if network else ""
            )
            (bundle / "config.json").write_text(json.dumps(runtime_spec(options)))
            reading, writing = os.pipe()
            started = await launcher.run(f"making-{os.getpid()}-{number}", bundle, None, writing, writing)
            os.close(writing)
            with open(reading, "rb", buffering=0) as stream:
                while data := await asyncio.to_thread(stream.read, 65536):
                    output(data)
            return await started.exited

        try:
            yield run
        finally:
            await launcher.close()
