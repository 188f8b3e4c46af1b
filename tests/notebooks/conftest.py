from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.catalog_images import load_archive
from tests.support.daemons import Daemon


@pytest.fixture
def lesson_host(docker_host: Daemon, images_archive: Path) -> Daemon:
    """Our engine, then Docker's, with the images that the lessons start from."""
    load_archive(docker_host, images_archive)
    return docker_host
