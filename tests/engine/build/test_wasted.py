"""Wasted bytes, as a table of layers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.build.wasted import Listing, listing, wasted
from labkernel.engine.image.whiteouts import Overlay


def layer(files: dict[str, int], *whiteouts: str, opaque: str = "") -> Listing:
    return Listing(files, frozenset(whiteouts), frozenset([opaque] if opaque else []))


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([layer({"a": 1}), layer({"b": 2})], []),
        ([layer({"a": 1}), layer({}, "a")], [(0, "deleted", 1, 1)]),
        ([layer({"a": 1}), layer({"a": 2})], [(0, "overwritten", 1, 1)]),
        ([layer({"d/a": 1, "d/e/b": 2, "da": 4}), layer({}, "d")], [(0, "deleted", 1, 3)]),
        ([layer({"d/a": 1}), layer({"d/b": 2}, opaque="d")], [(0, "deleted", 1, 1)]),
        ([layer({"d/a": 1}), layer({"d": 2})], [(0, "deleted", 1, 1)]),
        (
            [layer({"a": 1}), layer({"a": 2}), layer({}, "a")],
            [(1, "deleted", 2, 2), (0, "overwritten", 1, 1)],
        ),
        ([layer({"a": 1}), layer({}, "a"), layer({"a": 3})], [(0, "deleted", 1, 1)]),
        ([layer({"var/lib/apt/lists/x": 5})], [(0, "apt-lists", None, 5)]),
        ([layer({"var/lib/apt/lists/x": 5}), layer({}, "var/lib/apt/lists")], [(0, "deleted", 1, 5)]),
        ([layer({"root/.cache/pip/x": 5, "root/.cache/other": 6})], [(0, "pip-cache", None, 5)]),
        ([layer({"empty": 0}), layer({}, "empty")], []),
        ([layer({}, "of the base")], []),
    ],
)
def test_waste(layers: list[Listing], expected: list[tuple[int, str, int | None, int]]) -> None:
    assert [(w.layer, w.kind, w.by, w.size) for w in wasted(layers)] == expected


PATHS = st.sampled_from(["a", "d", "d/a", "d/b", "d/e/a", "f"])
LAYERS = st.lists(
    st.builds(
        Listing,
        st.dictionaries(PATHS, st.integers(1, 9)),
        st.frozensets(PATHS, max_size=2),
        st.frozensets(st.just("d")),
    ),
    max_size=5,
)


@given(LAYERS)
def test_no_byte_is_wasted_twice(layers: list[Listing]) -> None:
    found = wasted(layers)
    assert sum(w.size for w in found) <= sum(sum(one.files.values()) for one in layers)
    for number, one in enumerate(layers):
        assert sum(w.size for w in found if w.layer == number) <= sum(one.files.values())
    assert all(w.by is None or w.by > w.layer for w in found)


def test_a_layer_on_disk(root: None, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_bytes(b"123")
    os.link(tmp_path / "d" / "a", tmp_path / "b")
    (tmp_path / "link").symlink_to("b")
    overlay = Overlay(userxattr=True)
    descriptor = os.open(tmp_path / "d", os.O_RDONLY)
    overlay.make_whiteout(descriptor, b"gone")
    overlay.make_opaque(descriptor)
    os.close(descriptor)
    found = listing(tmp_path, overlay)
    assert sum(found.files.values()) == 3
    assert set(found.files) == {"d/a", "b", "link"}
    assert found.whiteouts == {"d/gone"}
    assert found.opaque == {"d"}
