from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from labkernel.engine.catalog.apt_sources import VARIABLE
from labkernel.engine.catalog.catalog import Catalog
from labkernel.engine.catalog.made import MadeImage, Progress
from labkernel.engine.errors import EngineError, InvalidParameter, NotFound, System, Unavailable
from tests.engine.catalog.launched import launching
from tests.engine.catalog.signed_archive import Server, SignedArchive, serving, write_keyring


async def no_container(
    rootfs: Path, args: Sequence[str], env: Sequence[str], *, network: bool, output: Callable[[bytes], None]
) -> int:
    raise AssertionError("nothing is run")


@dataclass
class Room:
    """An archive that has a busybox, and a catalog's directories."""

    server: Server
    line: str
    cache: Path

    def work(self) -> list[Path]:
        return list((self.cache / "work").iterdir())


@cache
def archive_files(architecture: str) -> dict[str, bytes]:
    program = shutil.which("busybox", path="/bin:/usr/bin")
    assert program
    archive = SignedArchive()
    archive.add("bookworm", "busybox-static", "1", files={"bin/busybox": Path(program).read_bytes()})
    archive.publish("bookworm", architecture)
    return archive.files


@pytest.fixture
def room(tmp_path: Path, architecture: str) -> Iterator[Room]:
    with serving(dict(archive_files(architecture))) as server:
        keyring = write_keyring(tmp_path / "ring.gpg")
        yield Room(server, f"deb [signed-by={keyring}] {server.url} bookworm main", tmp_path / "cache")


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory, where many files are made at once."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


def fails(catalog: Catalog, name: str) -> EngineError:
    with pytest.raises(EngineError) as error:
        asyncio.run(catalog.make(name, lambda _: None))
    return error.value


def test_what_there_is(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path, no_container)
    assert catalog.names() == ["busybox", "debian", "golang"]
    assert "static" in catalog.describe("busybox")
    with pytest.raises(NotFound, match="the catalog has no image named nginx") as error:
        catalog.describe("nginx")
    assert error.value.hint == "it makes busybox, debian, golang"


def test_a_release_the_archive_does_not_have(room: Room) -> None:
    error = fails(Catalog(room.cache, no_container, sources=room.line), "debian:nosuch")
    assert isinstance(error, NotFound)
    assert error.message == "manifest for debian:nosuch not found: manifest unknown"
    assert error.hint is not None
    assert error.hint.endswith("this machine's archive has no release nosuch")
    assert room.work() == []


@pytest.mark.parametrize(
    "sources", ["deb http://127.0.0.1:1/debian bookworm main", "deb http://nowhere.invalid/ bookworm main"]
)
def test_an_archive_that_cannot_be_reached(sources: str, tmp_path: Path) -> None:
    error = fails(Catalog(tmp_path, no_container, sources=sources), "busybox")
    assert isinstance(error, Unavailable)
    assert error.message.startswith(
        f"cannot reach the archive at {sources.split('/')[2].partition(':')[0]}: "
    )
    assert error.hint is not None
    assert list((tmp_path / "work").iterdir()) == []


def test_what_a_killed_engine_left_is_removed_while_others_go_on(memory: Path) -> None:
    left = memory / "work" / "left"
    for number in range(20):
        (left / str(number)).mkdir(parents=True)
        for name in range(1000):
            (left / str(number) / str(name)).touch()

    async def making() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(
            Catalog(memory, no_container, sources="deb http://127.0.0.1/other one main").make(
                "busybox", lambda _: None
            )
        )
        begin = last = loop.time()
        longest = 0.0
        while left.exists():
            await asyncio.sleep(0)
            longest, last = max(longest, loop.time() - last), loop.time()
        with pytest.raises(Unavailable):
            await task
        return longest, last - begin

    longest, whole = asyncio.run(making())
    assert longest < whole / 3


def test_sources_that_make_no_sense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/nowhere/debian.sources")
    assert isinstance(fails(Catalog(tmp_path, no_container), "debian"), InvalidParameter)
    monkeypatch.setenv(VARIABLE, "deb http://127.0.0.1/ubuntu noble-proposed main")
    error = fails(Catalog(tmp_path, no_container), "debian")
    assert isinstance(error, Unavailable)
    assert error.message == "this machine names no Debian archive to make images from"


def test_an_image_is_made_from_the_archive_in_the_variable(
    room: Room, root: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, room.line)

    async def making() -> tuple[MadeImage, list[Path]]:
        async with launching() as run:
            made = await Catalog(room.cache, run).make("busybox", lambda _: None)
            return made, room.work()

    made, work = asyncio.run(making())
    assert work == [made.directory]
    assert made.rootfs is not None
    assert (made.rootfs / "bin/sh").exists()
    made.discard()
    assert room.work() == []


def test_downloads_that_nobody_uses_any_more_are_forgotten(room: Room, root: None) -> None:
    old, used = room.cache / "packages/old.deb", room.cache / "packages/used.deb"
    old.parent.mkdir(parents=True)
    for file in (old, used):
        file.write_text("x")
    os.utime(old, (0, 0))

    async def making() -> None:
        async with launching() as run:
            (await Catalog(room.cache, run, sources=room.line).make("busybox", lambda _: None)).discard()

    asyncio.run(making())
    assert not old.exists()
    assert used.exists()
    assert len(list((room.cache / "packages").iterdir())) == 2


def test_two_at_once_wait_for_each_other_and_say_so(room: Room, root: None) -> None:
    async def making() -> list[list[Progress]]:
        told: list[list[Progress]] = [[], []]
        async with launching() as run:
            catalogs = [Catalog(room.cache, run, sources=room.line) for _ in told]
            made = await asyncio.gather(
                *(catalog.make("busybox", one.append) for catalog, one in zip(catalogs, told, strict=True))
            )
        assert len({image.directory for image in made}) == 2
        for image in made:
            image.discard()
        return told

    first, second = asyncio.run(making())
    assert first[0].step == 1
    assert second[0] == Progress(0, 4, "Waiting for another image that is being made")
    assert [path for path, _ in room.server.requests if path.endswith(".deb")] == [
        "pool/busybox-static_1.deb"
    ]


def test_a_making_that_is_cancelled_leaves_nothing_and_can_be_done_again(room: Room, root: None) -> None:
    async def making() -> None:
        reached = asyncio.Event()

        async def hanging(
            rootfs: Path,
            args: Sequence[str],
            env: Sequence[str],
            *,
            network: bool,
            output: Callable[[bytes], None],
        ) -> int:
            reached.set()
            await asyncio.sleep(60)
            return 0

        task = asyncio.create_task(
            Catalog(room.cache, hanging, sources=room.line).make("busybox", lambda _: None)
        )
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert room.work() == []
        async with launching() as run:
            made = await Catalog(room.cache, run, sources=room.line).make("busybox", lambda _: None)
            made.discard()

    asyncio.run(making())


def test_a_full_disk_is_an_error_with_a_hint(room: Room, root: None, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "small", small], check=True)
    try:
        error = fails(Catalog(small, no_container, sources=room.line), "busybox")
    finally:
        subprocess.run(["umount", small], check=True)
    assert isinstance(error, System)
    assert "No space left on device" in error.message
    assert error.hint is not None
    assert error.hint.startswith("free some space")
