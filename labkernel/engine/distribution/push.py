"""Pushing an image: the layers that the registry lacks, the configuration, then the manifest.

Where they come from is the caller's: Layer objects that know how to write themselves.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from labkernel.engine.distribution import manifests, messages
from labkernel.engine.distribution.manifests import DOCKER_CONFIG, DOCKER_MANIFEST, Descriptor
from labkernel.engine.distribution.messages import Output
from labkernel.engine.distribution.progress import Throttled
from labkernel.engine.distribution.registry import Registry
from labkernel.engine.distribution.retry import persistently
from labkernel.engine.distribution.upload import Upload

_AT_ONCE = 3
_CANDIDATES = 4
"""Archives of one layer that a registry is asked for before one is made."""


class Known(NamedTuple):
    """An archive of a layer, compressed with gzip, that a repository of the registry is thought to have."""

    blob: Descriptor
    repository: str


class Layer(Protocol):
    """A layer to push."""

    diff_id: str

    def known(self) -> Sequence[Known]:
        """Where in the registry it may be already, the likeliest first."""

    def blob(self) -> AbstractContextManager[tuple[Path, Descriptor]]:
        """Its archive compressed with gzip, as a file for the time being."""


class Pushed(NamedTuple):
    """The manifest's digest and its size in bytes, and the layers' archives."""

    digest: str
    size: int
    layers: list[Descriptor]


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
    pushed = _push_layers(registry, layers, output, stop)
    quietly: Callable[[str], None] = lambda _: None  # noqa: E731
    config_blob = Descriptor(DOCKER_CONFIG, manifests.digest(config), len(config))
    if not persistently(lambda: registry.has_blob(config_blob.digest), quietly, stop):
        upload = Upload(registry, config_blob, io.BytesIO(config), lambda _: None)
        persistently(upload.run, quietly, stop)
    manifest = manifests.docker_manifest(config_blob, pushed)
    persistently(lambda: registry.put_manifest(tag, manifest, DOCKER_MANIFEST), quietly, stop)
    result = Pushed(manifests.digest(manifest), len(manifest), pushed)
    output(messages.status(f"{tag}: digest: {result.digest} size: {result.size}"))
    output({"progressDetail": {}, "aux": {"Tag": tag, "Digest": result.digest, "Size": result.size}})
    return result


def _push_layers(
    registry: Registry, layers: Sequence[Layer], output: Output, stop: threading.Event
) -> list[Descriptor]:
    """Several at once; the same layer once only."""
    failed = threading.Event()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="push") as pool:
        pushed: dict[str, Future[Descriptor]] = {}
        for layer in layers:
            if layer.diff_id not in pushed:
                pushed[layer.diff_id] = pool.submit(_push_layer, registry, layer, output, stop, failed)
        try:
            return [pushed[layer.diff_id].result() for layer in layers]
        except BaseException:
            failed.set()
            raise


def _push_layer(registry: Registry, layer: Layer, output: Output, *stops: threading.Event) -> Descriptor:
    name = messages.short(layer.diff_id)

    def tell(text: str) -> None:
        output(messages.step(text, name))

    if found := persistently(lambda: _find(registry, layer, tell), tell, *stops):
        return found
    with layer.blob() as (file, descriptor):
        if persistently(lambda: registry.has_blob(descriptor.digest), tell, *stops):
            tell("Layer already exists")
            return descriptor
        size = descriptor.size
        report = Throttled(lambda done: output(messages.progress("Pushing", name, done, size)), *stops)
        report(0)
        with file.open("rb") as body:
            _send(registry, descriptor, body, report, tell, stops)
    tell("Pushed")
    return descriptor


def _send(
    registry: Registry,
    blob: Descriptor,
    body: IO[bytes],
    report: Callable[[int], None],
    tell: Callable[[str], None],
    stops: Sequence[threading.Event],
) -> None:
    upload = Upload(registry, blob, body, report)
    persistently(upload.run, tell, *stops, progress=lambda: upload.reached)


def _find(registry: Registry, layer: Layer, tell: Callable[[str], None]) -> Descriptor | None:
    """An archive of the layer that the registry has: nothing need be compressed, nor sent."""
    candidates = list(layer.known())
    for digest in list(dict.fromkeys(known.blob.digest for known in candidates))[:_CANDIDATES]:
        if registry.has_blob(digest):
            tell("Layer already exists")
            return next(known.blob for known in candidates if known.blob.digest == digest)
    for known in candidates[:_CANDIDATES]:
        if known.repository != registry.repository and registry.mount(known.blob.digest, known.repository):
            tell(f"Mounted from {known.repository}")
            return known.blob
    return None
