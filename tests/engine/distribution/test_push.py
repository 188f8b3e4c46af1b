"""Pushing to a real registry, and pulling from it what was pushed."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from labkernel.engine.distribution import manifests
from labkernel.engine.distribution.manifests import DOCKER_LAYER, Descriptor, Platform
from labkernel.engine.distribution.messages import short
from labkernel.engine.distribution.progress import Stopped
from labkernel.engine.distribution.pull import pull
from labkernel.engine.distribution.push import Known, push
from labkernel.engine.distribution.registry import Registry
from tests.engine.distribution.conftest import MemorySink


class FileLayer:
    """A layer whose archive is in a file."""

    def __init__(self, directory: Path, plain: bytes) -> None:
        self.diff_id = manifests.digest(plain)
        self.file = directory / self.diff_id
        self.file.write_bytes(gzip.compress(plain, mtime=0))
        self.elsewhere: list[Known] = []

    def known(self) -> list[Known]:
        return self.elsewhere

    @contextmanager
    def blob(self) -> Iterator[tuple[Path, Descriptor]]:
        data = self.file.read_bytes()
        yield self.file, Descriptor(DOCKER_LAYER, manifests.digest(data), len(data))


@pytest.fixture
def layers(tmp_path: Path) -> list[FileLayer]:
    return [FileLayer(tmp_path, text) for text in (b"one" * 100_000, b"two", b"one" * 100_000)]


def config_of(layers: list[FileLayer]) -> bytes:
    return json.dumps(
        {"rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}}
    ).encode()


def opened(domain: str, repository: str, actions: str = "pull,push") -> Registry:
    return Registry(domain, repository, familiar_name=repository, actions=actions)


def test_what_is_pushed_can_be_pulled(
    registry: str, layers: list[FileLayer], sink: MemorySink, stop: threading.Event
) -> None:
    messages: list[dict[str, Any]] = []
    config = config_of(layers)
    pushed = push(opened(registry, "push/new"), "v1", config, layers, messages.append, stop)
    names = [short(layer.diff_id) for layer in layers]
    assert messages[:3] == [{"status": "Preparing", "progressDetail": {}, "id": name} for name in names]
    finished = [message["id"] for message in messages if message.get("status") == "Pushed"]
    assert sorted(finished) == sorted(names[:2])
    assert messages[-2] == {"status": f"v1: digest: {pushed.digest} size: {pushed.size}"}
    assert messages[-1]["aux"] == {"Tag": "v1", "Digest": pushed.digest, "Size": pushed.size}
    result = pull(
        opened(registry, "push/new", "pull"), "v1", Platform("linux", "amd64"), sink, lambda _: None, stop
    )
    assert result.image_id == manifests.digest(config)
    assert result.digest == pushed.digest
    assert [gzip.decompress(data)[:3] for data in sink.layers.values()] == [b"one", b"two", b"one"]


def test_a_second_push_sends_no_layer(registry: str, layers: list[FileLayer], stop: threading.Event) -> None:
    config = config_of(layers)
    first = push(opened(registry, "push/again"), "v1", config, layers, lambda _: None, stop)
    messages: list[dict[str, Any]] = []
    assert push(opened(registry, "push/again"), "v2", config, layers, messages.append, stop) == first
    statuses = [message.get("status") for message in messages]
    assert statuses.count("Layer already exists") == 2
    assert "Pushed" not in statuses


def test_stopping(registry: str, layers: list[FileLayer], stop: threading.Event) -> None:
    stop.set()
    with pytest.raises(Stopped):
        push(opened(registry, "push/stopped"), "v1", config_of(layers), layers, lambda _: None, stop)
