"""Counting the files of layers in archives of `docker save`."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.notebook.layers import changes_of
from labkernel.notebook.views.layer_files import (
    ADDED,
    CHANGED,
    DELETED,
    Change,
    Contents,
    LayerFiles,
    chain_ids,
    count,
    files_of_layers,
    read_layer,
)
from tests.support.daemons import Daemon


def tar(members: Mapping[str, int | bytes | None]) -> bytes:
    """A tar: name -> content, or its size; a directory where that is None."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            else:
                data = bytes(content) if isinstance(content, int) else content
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return made.getvalue()


def image(*layers: str) -> dict[str, bytes]:
    """The config and the manifest of an image with these members as its layers, d0, d1 and so on."""
    config = {"rootfs": {"diff_ids": [f"d{number}" for number in range(len(layers))]}}
    manifest = [{"Config": "config.json", "RepoTags": None, "Layers": layers}]
    return {"config.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()}


def counts(archive: bytes) -> list[tuple[int, int, int] | None]:
    """(added, changed, deleted) of the layers d0, d1, d2; None where nothing is known."""
    found = files_of_layers(io.BytesIO(archive))
    return [
        (files.added, files.changed, files.deleted) if (files := found.get(chain_id)) else None
        for chain_id in chain_ids(["d0", "d1", "d2"])
    ]


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ({"c": 1}, (1, 0, 0)),
        ({"a": 2}, (0, 1, 0)),
        ({".wh.a": 0}, (0, 0, 1)),
        ({"d/.wh.x": 0, "d/z": 1}, (1, 0, 1)),
        ({".wh.d": 0}, (0, 0, 2)),
        ({"d/.wh..wh..opq": 0, "d/x": 9}, (0, 1, 1)),
        ({".wh..wh..opq": 0}, (0, 0, 3)),
        ({"d": None, "e": None}, (0, 0, 0)),
        ({"./a": 1, "./d/": None}, (0, 1, 0)),
        ({".wh.none": 0}, (0, 0, 0)),
        ({}, (0, 0, 0)),
    ],
)
def test_a_layer_above_another(second: dict[str, int | None], expected: tuple[int, int, int]) -> None:
    first = {"d/": None, "a": 1, "d/x": 1, "d/y": 1}
    layers = [read_layer(io.BytesIO(tar(members))) for members in (first, second)]
    lower, upper = count(layers)
    assert (lower.added, lower.changed, lower.deleted) == (3, 0, 0)
    assert (upper.added, upper.changed, upper.deleted) == expected


def test_what_was_deleted_can_come_again() -> None:
    *_, last = count([Contents({"a": 1}), Contents(removed={"a"}), Contents({"a": 1})])
    assert (last.added, last.changed) == (1, 0)


def test_the_largest_paths_come_first_then_what_is_gone() -> None:
    many = Contents({f"f{number:02}": number for number in range(30)})
    first, second = count([many, Contents({"f01": 99, "new": 5}, removed={"f02"})])
    assert [change.size for change in first.paths] == list(range(29, 19, -1))
    assert second.paths == (Change(CHANGED, "f01", 99), Change(ADDED, "new", 5), Change(DELETED, "f02", 2))


LOWER, UPPER = tar({"a": 1, "b": 600}), tar({"a": 2, "c": 3, "d": 1})


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        # As our engine and Docker from 25 on write it, and with the manifest first.
        ({"blobs/1": LOWER, "blobs/2": UPPER, **image("blobs/1", "blobs/2")}, [(2, 0, 0), (2, 1, 0), None]),
        ({**image("blobs/1", "blobs/2"), "blobs/2": UPPER, "blobs/1": LOWER}, [(2, 0, 0), (2, 1, 0), None]),
        ({"1": gzip.compress(LOWER), **image("1")}, [(2, 0, 0), None, None]),
        # A compression that is not known: nothing can be said of what is above it either.
        (
            {"1": LOWER, "2": b"\x28\xb5\x2f\xfd?", "3": UPPER, **image("1", "2", "3")},
            [(2, 0, 0), None, None],
        ),
        ({"1": LOWER, "2": UPPER[:900], **image("1", "2")}, [(2, 0, 0), None, None]),
        ({"1": bytes(1024), "2": LOWER, **image("1", "2")}, [(0, 0, 0), (2, 0, 0), None]),
        ({"1": LOWER}, [None, None, None]),
    ],
)
def test_archives(members: dict[str, Any], expected: list[tuple[int, int, int] | None]) -> None:
    assert counts(tar(members)) == expected


def test_layers_that_are_links_to_others() -> None:
    """As older Dockers write a layer that another image of the archive has."""
    made = io.BytesIO(tar({"one/layer.tar": LOWER, **image("two/layer.tar", "three/layer.tar")}))
    with tarfile.open(fileobj=made, mode="a") as archive:
        for name, kind, target in [
            ("two/layer.tar", tarfile.SYMTYPE, "../one/layer.tar"),
            ("three/layer.tar", tarfile.LNKTYPE, "one/layer.tar"),
        ]:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            archive.addfile(link)
    assert counts(made.getvalue()) == [(2, 0, 0), (0, 2, 0), None]


def test_chain_ids_are_those_of_the_specification() -> None:
    assert chain_ids(["sha256:a", "sha256:b"])[0] == "sha256:a"
    # printf 'sha256:a sha256:b' | sha256sum
    assert chain_ids(["sha256:a", "sha256:b"])[1] == (
        "sha256:970a948bffa8de94d6e22d747ba8c95030e6e546909f98f54e99a13005e173a8"
    )


_NAMES = st.sampled_from(["a", "b", "d/x", "d/y", "d/e/z"])
_CONTENTS = st.builds(
    Contents,
    st.dictionaries(_NAMES, st.integers(0, 9), max_size=5),
    st.sets(st.sampled_from(["a", "d", "d/e", "d/x", "gone"]), max_size=3),
    st.sets(st.sampled_from(["", "d", "d/e"]), max_size=1),
)


@given(st.lists(_CONTENTS, max_size=4))
def test_what_was_added_and_not_deleted_is_there(layers: Sequence[Contents]) -> None:
    """The counts of all layers together are the number of files of the image."""
    there: set[str] = set()
    for layer in layers:
        covered = layer.removed | layer.emptied
        there = {
            path
            for path in there
            if path not in layer.removed
            and not any(path.startswith(f"{top}/") or top == "" for top in covered)
        } | layer.files.keys()
    counted = count(layers)
    assert sum(files.added - files.deleted for files in counted) == len(there)


def test_real_archives_have_the_same_counts(docker_host: Daemon) -> None:
    dockerfile = (
        "FROM busybox\nRUN mkdir /x && touch /x/1 /x/2 /x/3\nRUN rm /x/1 && echo 2 > /x/2\nRUN rm -r /x\n"
    )
    assert docker_host.docker("build", "-t", "files", "-", input=dockerfile).returncode == 0
    saved = docker_host.run(["docker", "save", "files"], text=False)
    diff_ids = docker_host.client().api.inspect_image("files")["RootFS"]["Layers"]
    found = files_of_layers(io.BytesIO(saved.stdout))
    base, *steps = [found[chain_id] for chain_id in chain_ids(diff_ids)]
    assert base.added > 100
    assert [(step.added, step.changed, step.deleted) for step in steps] == [(3, 0, 0), (0, 1, 1), (0, 0, 2)]
    assert steps[1].paths == (Change(CHANGED, "x/2", 2), Change(DELETED, "x/1"))
    assert isinstance(base, LayerFiles)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([], []),
        ([("/tmp", 0), ("/tmp/new", 1)], [Change(ADDED, "tmp/new")]),
        (
            [("/etc", 0), ("/etc/passwd", 0), ("/gone", 2)],
            [Change(CHANGED, "etc/passwd"), Change(DELETED, "gone")],
        ),
        ([("/d", 1), ("/d/e", 1), ("/d/e/f", 1)], [Change(ADDED, "d/e/f")]),
    ],
)
def test_directories_that_other_changes_are_in_do_not_count(
    answer: list[tuple[str, int]], expected: list[Change]
) -> None:
    assert changes_of([{"Path": path, "Kind": kind} for path, kind in answer]) == expected
