"""Base images on a real store; what the catalog makes is given."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkernel.engine.base_images import BaseImages
from labkernel.engine.catalog.catalog import Catalog
from labkernel.engine.catalog.made import MadeImage, Progress
from labkernel.engine.database import Database
from labkernel.engine.events import Events
from labkernel.engine.image.images import Images
from labkernel.engine.image.registries import Registries
from labkernel.engine.image.store import Store


class Prepared(Catalog):
    """A catalog whose one image is there already: a root file system of a few files."""

    def __init__(self, directory: Path) -> None:
        self._directory_of_image = directory

    async def make(self, name: str, progress: Callable[[Progress], None]) -> MadeImage:
        rootfs = self._directory_of_image / "rootfs"
        rootfs.mkdir(parents=True)
        for number in range(100):
            (rootfs / str(number)).write_text(str(number))
        return MadeImage((f"{name}:latest",), self._directory_of_image, {}, rootfs=rootfs)


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Images]:
    database = Database(tmp_path / "database")
    yield Images(Store(tmp_path, database))
    database.close()


def test_a_cancelled_making_ends_when_its_last_thread_has(tmp_path: Path, images: Images) -> None:
    """Else the directory goes while it becomes a layer."""
    directory = tmp_path / "making"
    base_images = BaseImages(images, Events(), Prepared(directory), Registries(images))

    async def scenario() -> None:
        with images.store.database.transaction():  # as another thread's: no layer is stored until it ends
            making = asyncio.ensure_future(base_images.make("busybox", lambda _: None))
            await asyncio.sleep(0.3)
            making.cancel()
            await asyncio.wait({making}, timeout=0.3)
            assert not making.done()
            assert len(list((directory / "rootfs").iterdir())) == 100
        with pytest.raises(asyncio.CancelledError):
            await making
        assert not directory.exists()

    asyncio.run(scenario())
    assert threading.active_count() == 1
