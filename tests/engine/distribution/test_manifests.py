"""Manifests and indexes: what is chosen, and what is wrong with bad ones."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from labkernel.engine.distribution import manifests
from labkernel.engine.distribution.manifests import Descriptor, Manifest, Platform
from labkernel.engine.errors import EngineError, NotFound

DIGEST = "sha256:" + "a" * 64


def entry(architecture: str, variant: str | None = None, os: str = "linux") -> dict[str, Any]:
    return {"platform": {"os": os, "architecture": architecture, "variant": variant}}


def test_a_manifest_is_read_as_it_was_written() -> None:
    config = Descriptor(manifests.DOCKER_CONFIG, DIGEST, 7)
    layers = [Descriptor(manifests.DOCKER_LAYER, DIGEST, 8)]
    assert manifests.parse(manifests.docker_manifest(config, layers)) == Manifest(config, layers)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (Platform("linux", "amd64"), 1),
        (Platform("linux", "arm", "v7"), 3),
        (Platform("linux", "arm", "v6"), 2),
        (Platform("linux", "arm64", "v8"), 4),
        (Platform("windows", "amd64"), 0),
    ],
)
def test_the_entry_for_a_platform(wanted: Platform, chosen: int) -> None:
    entries = [
        entry("amd64", os="windows"),
        entry("amd64"),
        entry("arm", "v6"),
        entry("arm", "v7"),
        entry("arm64"),
        {"platform": {"os": "unknown", "architecture": "unknown"}},
    ]
    assert manifests.choose(entries, wanted) is entries[chosen]


def test_no_entry_for_a_platform() -> None:
    with pytest.raises(NotFound, match="no matching manifest for linux/riscv64 in the manifest list entries"):
        manifests.choose([entry("amd64")], Platform("linux", "riscv64"))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"3", "is not a JSON object"),
        (b'{"schemaVersion": 1}', "schema 1 is not supported"),
        (b'{"manifests": 3}', "manifests is not a list of objects"),
        (b"{}", "no config"),
        (json.dumps({"config": {"digest": "../x", "size": 1}}).encode(), "is not a sha256 digest"),
        (json.dumps({"config": {"digest": DIGEST}}).encode(), "has no size"),
        (json.dumps({"config": {"digest": DIGEST, "size": -1}}).encode(), "has no size"),
        (json.dumps({"config": {"digest": DIGEST, "size": 1}}).encode(), "layers is not a list of objects"),
    ],
)
def test_bad_manifests(document: bytes, message: str) -> None:
    with pytest.raises(EngineError, match=re.escape(message)):
        manifests.parse(document)
