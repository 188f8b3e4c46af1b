"""Walking and removing trees, as deep as a container can make them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkernel.engine.linux import trees


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory in memory."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


def tree(place: Path, *names: str) -> Path:
    """A directory of empty files; a name that ends in a slash is a directory."""
    top = place / "top"
    top.mkdir()
    for name in names:
        path = top / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.touch()
    return top


def walked(top: Path) -> list[str]:
    root = os.open(top, os.O_RDONLY)
    try:
        return [os.fsdecode(node.path) for node in trees.walk(root)]
    finally:
        os.close(root)


def test_order_does_not_depend_on_the_file_system(place: Path) -> None:
    top = tree(place, "b/y", "b/x/z", "a", "c/", "B")
    assert walked(top) == ["B", "a", "b", "c", "b/x", "b/y", "b/x/z"]


def test_links_are_not_followed(place: Path) -> None:
    top = tree(place, "d/x")
    (top / "link").symlink_to(place)
    assert walked(top) == ["d", "link", "d/x"]


def make_deep(top: Path, depth: int) -> None:
    here = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d" * 100, dir_fd=here)
        below = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def test_deeper_than_paths_may_be_long(place: Path) -> None:
    top = tree(place, "x")
    make_deep(top, 3000)
    with pytest.raises(OSError, match="too long"):
        walked(top)
    trees.remove(top)
    assert not top.exists()


def test_removing_stays_inside(place: Path) -> None:
    kept = place / "kept"
    kept.write_text("kept")
    top = tree(place, "a/b/c/d", ".removed-1/x", ".removed-2", "a/.removed-3/x")
    (top / "a" / "out").symlink_to(place)
    (top / "a" / "b").chmod(0)
    trees.remove(top)
    assert not top.exists()
    assert kept.read_text() == "kept"
    trees.remove(top)  # Gone already: nothing to do.


def test_attributes(place: Path) -> None:
    file = tree(place, "x") / "x"
    assert trees.attributes(bytes(file)) == {}
    os.setxattr(file, "user.b", b"2")
    os.setxattr(file, "trusted.a", b"1")
    assert list(trees.attributes(bytes(file)).items()) == [("trusted.a", b"1"), ("user.b", b"2")]
    assert trees.attributes(bytes(file) + b"-gone") == {}
