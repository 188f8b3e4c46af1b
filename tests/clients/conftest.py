from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.catalog_images import load_archive
from tests.support.daemons import Daemon
from tests.support.shared import shared_file

PROJECT = Path(__file__).parent / "project"


@pytest.fixture(scope="session")
def database_archive(engine: Daemon, images_archive: Path) -> Path:
    """lesson/redis, a database installed from Debian's packages; made once a run."""

    def make(path: Path) -> None:
        load_archive(engine, images_archive)
        built = engine.docker("build", "-t", "lesson/redis", "db", cwd=PROJECT, timeout=400)
        assert built.returncode == 0, built.stderr
        saved = engine.docker("save", "-o", str(path), "lesson/redis", timeout=120)
        assert saved.returncode == 0, saved.stderr
        engine.clear()

    return shared_file("redis.tar", make)


@pytest.fixture(scope="module", params=["engine", "user_engine", "single_uid_engine"])
def host(request: pytest.FixtureRequest, database_archive: Path) -> Iterator[Daemon]:
    """Our engine with each kind of privilege, and a database."""
    daemon: Daemon = request.getfixturevalue(request.param)
    load_archive(daemon, database_archive)
    yield daemon
    daemon.clear()


@pytest.fixture(scope="module")
def project(host: Daemon) -> Iterator[Path]:
    """A web server and a database: compose makes its images' names from the directory's."""
    with tempfile.TemporaryDirectory(prefix="compose-") as place:
        directory = Path(place) / "shop"
        shutil.copytree(PROJECT, directory)
        yield directory
