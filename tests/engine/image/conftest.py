"""Stores on a file system in memory, and small trees to put into them."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkernel.engine.database import Database
from labkernel.engine.image.images import Images
from labkernel.engine.image.store import Store

Tree = Callable[[dict[str, str]], Path]


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    """A tmpfs: overlayfs takes it as an upper directory, and files are made at once."""
    directory = Path(tempfile.mkdtemp(prefix="lk-image-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)
        directory.rmdir()


@pytest.fixture
def place(memory: Path) -> Iterator[Path]:
    """An empty directory in memory."""
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        yield Path(directory)


@pytest.fixture
def store(place: Path) -> Iterator[Store]:
    database = Database(place / "database")
    yield Store(place / "image", database)
    database.close()


@pytest.fixture
def images(store: Store) -> Images:
    return Images(store)


@pytest.fixture
def other(place: Path) -> Iterator[Images]:
    """A second, empty store."""
    database = Database(place / "other-database")
    yield Images(Store(place / "other", database))
    database.close()


@pytest.fixture
def tree(place: Path) -> Tree:
    """Makes a directory of files: their texts by their paths; a path that ends in a slash is a directory."""

    def make(files: dict[str, str]) -> Path:
        top = Path(tempfile.mkdtemp(dir=place))
        top.chmod(0o755)
        for name, text in files.items():
            path = top / name
            if name.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            os.utime(path, (1_000_000_000, 1_000_000_000))
        return top

    return make
