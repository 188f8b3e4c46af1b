"""Pushing an image: the layers that the registry lacks, the configuration, then the manifest.

Where they come from is the caller's: Layer objects that know how to write themselves.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from labkernel.engine.distribution import manifests, messages
from labkernel.engine.distribution.manifests import DOCKER_CONFIG, DOCKER_MANIFEST, Descriptor
from labkernel.engine.distribution.messages import Output
from labkernel.engine.distribution.progress import Throttled
from labkernel.engine.distribution.registry import Registry


class Layer(Protocol):
    """A layer to push."""

    diff_id: str

    def blob(self) -> AbstractContextManager[tuple[Path, Descriptor]]:
        """Its archive compressed with gzip, as a file for the time being."""


class Pushed(NamedTuple):
    """The manifest's digest and its size in bytes."""

    digest: str
    size: int


def push(
    registry: Registry,
    tag: str,
    config: bytes,
    layers: Sequence[Layer],
    output: Output,
    stop: threading.Event,
) -> Pushed:
    """Store an image in a registry under a tag. Raises Forbidden, Unauthorized, Unavailable, System; Stopped
    soon after `stop` was set."""
    for layer in layers:
        output(messages.step("Preparing", messages.short(layer.diff_id)))
    pushed: dict[str, Descriptor] = {}
    for layer in layers:
        if layer.diff_id not in pushed:
            pushed[layer.diff_id] = _push_layer(registry, layer, output, stop)
    config_blob = Descriptor(DOCKER_CONFIG, manifests.digest(config), len(config))
    if not registry.has_blob(config_blob.digest):
        registry.upload(io.BytesIO(config), config_blob)
    manifest = manifests.docker_manifest(config_blob, [pushed[layer.diff_id] for layer in layers])
    registry.put_manifest(tag, manifest, DOCKER_MANIFEST)
    result = Pushed(manifests.digest(manifest), len(manifest))
    output(messages.status(f"{tag}: digest: {result.digest} size: {result.size}"))
    output({"progressDetail": {}, "aux": {"Tag": tag, "Digest": result.digest, "Size": result.size}})
    return result


def _push_layer(registry: Registry, layer: Layer, output: Output, stop: threading.Event) -> Descriptor:
    name = messages.short(layer.diff_id)
    with layer.blob() as (file, descriptor):
        if registry.has_blob(descriptor.digest):
            output(messages.step("Layer already exists", name))
            return descriptor
        size = descriptor.size
        report = Throttled(lambda done: output(messages.progress("Pushing", name, done, size)), stop)
        with file.open("rb") as body:
            registry.upload(_Watched(body, report), descriptor)  # type: ignore[arg-type]
    output(messages.step("Pushed", name))
    return descriptor


class _Watched:
    """A file that tells how much of it has been read."""

    def __init__(self, file: IO[bytes], report: Callable[[int], None]) -> None:
        self._file = file
        self._report = report
        self._done = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._done += len(data)
        self._report(self._done)
        return data
