"""Walking and removing trees, as deep as a container can make them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labkernel.engine.image import trees
from tests.engine.image.conftest import Tree


def walked(top: Path) -> list[str]:
    root = os.open(top, os.O_RDONLY)
    try:
        return [os.fsdecode(node.path) for node in trees.walk(root)]
    finally:
        os.close(root)


def test_order_does_not_depend_on_the_file_system(tree: Tree) -> None:
    top = tree({"b/y": "", "b/x/z": "", "a": "", "c/": "", "B": ""})
    assert walked(top) == ["B", "a", "b", "c", "b/x", "b/y", "b/x/z"]


def test_links_are_not_followed(tree: Tree, place: Path) -> None:
    top = tree({"d/x": ""})
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


def test_deeper_than_paths_may_be_long(tree: Tree) -> None:
    top = tree({"x": ""})
    make_deep(top, 3000)
    with pytest.raises(OSError, match="too long"):
        walked(top)
    trees.remove(top)
    assert not top.exists()


def test_removing_stays_inside(tree: Tree, place: Path) -> None:
    kept = place / "kept"
    kept.write_text("kept")
    top = tree({"a/b/c/d": "", ".removed-1/x": "", ".removed-2": "", "a/.removed-3/x": ""})
    (top / "a" / "out").symlink_to(place)
    (top / "a" / "b").chmod(0)
    trees.remove(top)
    assert not top.exists()
    assert kept.read_text() == "kept"
    trees.remove(top)  # Gone already: nothing to do.


def test_attributes(tree: Tree) -> None:
    file = tree({"x": ""}) / "x"
    assert trees.attributes(bytes(file)) == {}
    os.setxattr(file, "user.b", b"2")
    os.setxattr(file, "trusted.a", b"1")
    assert list(trees.attributes(bytes(file)).items()) == [("trusted.a", b"1"), ("user.b", b"2")]
    assert trees.attributes(bytes(file) + b"-gone") == {}
