"""Base images on a real store; what the catalog makes is given."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labkernel.engine.base_images import BaseImages, Output
from labkernel.engine.catalog.catalog import Catalog
from labkernel.engine.catalog.made import MadeImage, Progress
from labkernel.engine.database import Database
from labkernel.engine.errors import NotFound, Unavailable
from labkernel.engine.events import Events
from labkernel.engine.image.config import new_config
from labkernel.engine.image.images import Image, Images
from labkernel.engine.image.platforms import own_platform
from labkernel.engine.image.reference import Reference, parse_reference
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
    before = threading.active_count()
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
    assert threading.active_count() <= before


class Answering(Registries):
    """A registry that has every image for one platform; none answers for another."""

    def __init__(self, images: Images, platform: str) -> None:
        super().__init__(images)
        self._store, self._platform = images, platform

    async def pull(
        self, reference: Reference, output: Output, auth: dict[str, Any] | None = None, *, platform: str = ""
    ) -> Image:
        if platform != self._platform:
            raise Unavailable("no registry answers")
        return self._store.create(image_for(platform), reference=reference)


def image_for(platform: str) -> dict[str, Any]:
    system, architecture = platform.split("/")
    return new_config(os=system, architecture_name=architecture, diff_ids=[])


def test_another_platform_is_fetched_or_refused(tmp_path: Path, images: Images) -> None:
    base_images = BaseImages(
        images, Events(), Prepared(tmp_path / "making"), Answering(images, "linux/s390x")
    )
    own = images.create(
        image_for(str(own_platform()._replace(variant=None))), reference=parse_reference("busybox")
    )

    def find(platform: str) -> Image:
        return asyncio.run(base_images.find("busybox", lambda _: None, platform=platform))

    assert find("") == own
    assert find(f"linux/{own_platform().architecture}") == own
    with pytest.raises(NotFound) as error:
        find("linux/riscv64")
    assert error.value.message == "no matching manifest for linux/riscv64 in the manifest list entries"
    assert "no registry answers, and the catalog makes" in str(error.value.hint)
    assert not (tmp_path / "making").exists()
    assert find("linux/s390x").config["architecture"] == "s390x"
