"""Images made for real, once a session, from what this machine has configured."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from labkernel.engine.catalog.archive import machine_architecture
from labkernel.engine.catalog.catalog import Catalog
from labkernel.engine.catalog.made import MadeImage, Progress
from tests.engine.catalog.launched import launching


@dataclass(frozen=True)
class Made:
    image: MadeImage
    progress: list[Progress]

    @property
    def root(self) -> Path:
        assert self.image.rootfs is not None
        return self.image.rootfs


def make(cache: Path, name: str, sources: str | None = None) -> Made:
    """Makes an image of the catalog with our own launcher; the caller discards it."""
    progress: list[Progress] = []

    async def making() -> MadeImage:
        async with launching() as run:
            return await Catalog(cache, run, sources=sources).make(name, progress.append)

    return Made(asyncio.run(making()), progress)


def run(rootfs: Path, *args: str, network: bool = False) -> tuple[int, str]:
    """Exit code and output of a program in a container with this root file system."""
    said = bytearray()
    env = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"]

    async def running() -> int:
        async with launching() as run_in_rootfs:
            return await run_in_rootfs(rootfs, args, env, network=network, output=said.extend)

    return asyncio.run(running()), said.decode(errors="replace")


@pytest.fixture(scope="session")
def cache(root: None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="labkernel-catalog-") as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def debian(cache: Path) -> Iterator[Made]:
    made = make(cache, "debian")
    yield made
    made.image.discard()


@pytest.fixture(scope="session")
def busybox(cache: Path) -> Iterator[Made]:
    made = make(cache, "busybox")
    yield made
    made.image.discard()


@pytest.fixture(scope="session")
def architecture() -> str:
    """This machine's, in Debian's words."""
    return machine_architecture()
