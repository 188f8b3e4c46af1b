from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.catalog_images import load_archive
from tests.support.daemons import Daemon


@pytest.fixture(params=["engine", "user_engine", "dockerd"])
def lesson_host(request: pytest.FixtureRequest, images_archive: Path) -> Iterator[Daemon]:
    """Our engine as root and as an ordinary user, then Docker's, with the lessons' images."""
    daemon: Daemon = request.getfixturevalue(request.param)
    load_archive(daemon, images_archive)
    yield daemon
    daemon.clear()


@pytest.fixture
def directory() -> Iterator[Path]:
    """A place for a lesson that every user may look into, as pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="lesson-") as made:
        Path(made).chmod(0o755)
        yield Path(made)
