from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.catalog_images import load_archive, make_archive
from tests.support.daemons import Daemon


@pytest.fixture(scope="session")
def images_archive(engine: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """debian and golang as our catalog makes them, in one archive; made once a session."""
    path = tmp_path_factory.mktemp("images") / "images.tar"
    make_archive(engine, path)
    yield path
    path.unlink()


@pytest.fixture
def lesson_host(docker_host: Daemon, images_archive: Path) -> Daemon:
    """Our engine, then Docker's, with the images that the lessons start from."""
    load_archive(docker_host, images_archive)
    return docker_host
