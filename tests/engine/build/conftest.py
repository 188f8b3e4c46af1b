"""A real builder: an image store, the launcher for RUN, and the test suite's busybox to build on."""

from __future__ import annotations

import asyncio
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from labkernel.engine.build.builder import Builder
from labkernel.engine.build.context import BuildContext
from labkernel.engine.build.interface import BuildOptions, Output, Room, RunStep
from labkernel.engine.database import Database
from labkernel.engine.image.images import Image, Images
from labkernel.engine.image.store import Store
from labkernel.engine.runtime.client import Launcher
from labkernel.engine.runtime.spec import Mount, Overlay, SpecOptions, runtime_spec
from tests.support.base_images import busybox_archive

Files = Mapping[str, bytes | str | tarfile.TarInfo]


def context_tar(files: Files) -> bytes:
    """A context as clients send it. Values are contents, or a member for what is no plain file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, value in files.items():
            if isinstance(value, tarfile.TarInfo):
                value.name = name
                tar.addfile(value)
                continue
            data = value.encode() if isinstance(value, str) else value
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(data), 1_600_000_000, 0o644
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def member(
    kind: bytes, *, mode: int = 0o755, target: str = "", uid: int = 0, gid: int = 0
) -> tarfile.TarInfo:
    """A directory, link or the like for `context_tar`."""
    found = tarfile.TarInfo()
    found.type, found.mode, found.linkname, found.uid, found.gid = kind, mode, target, uid, gid
    found.mtime = 1_500_000_000
    return found


class LauncherRunner:
    """RUN steps in real containers, without a network; `steps` are those that were run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.launcher: Launcher | None = None
        self.steps: list[RunStep] = []
        # What an engine lays over every image, so that mount points are not part of the next layer.
        self.init_layer = directory / "init"
        for name in ("proc", "sys", "dev/pts", "dev/shm", "dev/mqueue", "dev/pipes", "etc"):
            (self.init_layer / name).mkdir(parents=True)

    async def run(
        self, step: RunStep, stdout: Callable[[bytes], None], stderr: Callable[[bytes], None], room: Room
    ) -> int:
        self.steps.append(step)
        assert self.launcher
        bundle = self.directory / step.container_id
        bundle.mkdir()
        (bundle / "rootfs").mkdir()
        options = SpecOptions(
            args=step.args,
            env=step.env,
            cwd=step.cwd,
            user=step.user,
            hostname=step.hostname,
            overlay=Overlay(
                [str(self.init_layer), *(str(layer) for layer in step.layers)],
                str(step.upper),
                str(step.work),
            ),
            mounts=[Mount(m.destination, str(m.source), m.type, m.options) for m in step.mounts],
        )
        (bundle / "config.json").write_text(json.dumps(runtime_spec(options)))
        pipes = [os.pipe(), os.pipe()]
        started = await self.launcher.run(step.container_id, bundle, None, pipes[0][1], pipes[1][1])
        for _, write_end in pipes:
            os.close(write_end)
        loop = asyncio.get_running_loop()
        readers = [
            loop.run_in_executor(None, _drain, pipes[0][0], stdout, loop),
            loop.run_in_executor(None, _drain, pipes[1][0], stderr, loop),
        ]
        try:
            code = await asyncio.shield(started.exited)
        except asyncio.CancelledError:
            self.launcher.kill(step.container_id, 9)
            await started.exited
            raise
        await asyncio.gather(*readers)
        return code


def _drain(descriptor: int, write: Callable[[bytes], None], loop: asyncio.AbstractEventLoop) -> None:
    with open(descriptor, "rb", buffering=0) as stream:
        while data := stream.read(65536):
            loop.call_soon_threadsafe(write, data)


class StoredImages:
    """FROM finds what the store has."""

    def __init__(self, images: Images) -> None:
        self.images = images

    async def find(
        self,
        reference: str,
        output: Output,
        *,
        platform: str = "",
        pull: bool = False,
        auths: Mapping[str, Any] | None = None,
    ) -> Image:
        return self.images.resolve(reference)


@dataclass
class Result:
    image: Image
    messages: list[dict[str, Any]]

    @property
    def text(self) -> str:
        return "".join(message.get("stream", "") for message in self.messages)


@dataclass
class Workshop:
    """Everything a build needs. `build` runs one to its end."""

    store: Store
    images: Images
    runner: LauncherRunner
    builder: Builder
    messages: list[dict[str, Any]]

    def build(self, text: str | bytes | None, files: Files | None = None, /, **options: Any) -> Result:
        """Raises what the build raises; `messages` holds what it had said by then."""
        given: dict[str, Any] = {} if text is None else {"Dockerfile": text}
        return self.build_tar(context_tar({**given, **(files or {})}), **options)

    def build_tar(self, tar: bytes, **options: Any) -> Result:
        self.messages = type(self.messages)()
        with self.store.temporary() as place:
            context = BuildContext.receive(io.BytesIO(tar), place)
            with context:
                image_id = asyncio.run(self._build(context, BuildOptions(**options)))
        return Result(self.images.get(image_id), self.messages)

    async def _build(self, context: BuildContext, options: BuildOptions) -> str:
        self.runner.launcher = await Launcher.start(self.runner.directory / "launcher")
        try:
            return await self.builder.build(context, options, self.messages.append)
        finally:
            await self.runner.launcher.close()


def make_workshop(directory: Path) -> Workshop:
    made = open_workshop(directory, directory / "run")
    made.images.load(io.BytesIO(busybox_archive()))
    return made


def open_workshop(directory: Path, run: Path) -> Workshop:
    """A workshop on the store in `directory`, such as a killed one has left it; `run` is new."""
    store = Store(directory / "store", Database(directory / "database"))
    images = Images(store)
    run.mkdir()
    runner = LauncherRunner(run)
    return Workshop(store, images, runner, Builder(images, runner, StoredImages(images)), [])


@pytest.fixture
def workshop(root: None, tmp_path: Path) -> Iterator[Workshop]:
    made = make_workshop(tmp_path)
    yield made
    assert os.listdir(made.store.root / "tmp") == [], "a build left temporary files"
