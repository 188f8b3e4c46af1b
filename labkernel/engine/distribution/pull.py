"""Pulling an image: manifest, configuration, then its layers, as many as are missing.

Where they go is the caller's: a Sink. What dockerd tells its clients meanwhile goes to `output`, which is
called from several threads.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from labkernel.engine.distribution import manifests, messages
from labkernel.engine.distribution.connection import Answer
from labkernel.engine.distribution.manifests import Descriptor, Manifest, Platform
from labkernel.engine.distribution.messages import Output
from labkernel.engine.distribution.progress import Throttled
from labkernel.engine.distribution.registry import Registry
from labkernel.engine.distribution.retry import persistently
from labkernel.engine.errors import EngineError, InvalidParameter, System, Unavailable

_AT_ONCE = 3
_CHUNK = 1 << 18
_CONFIG_LIMIT = 8 << 20


class Sink(Protocol):
    """Where a pulled image goes. Called from the thread that pulls."""

    def temporary(self) -> AbstractContextManager[Path]:
        """A directory for the time of the pull."""

    def has_layer(self, diff_ids: Sequence[str]) -> bool:
        """Whether the layer that these diff_ids, base first, end in is stored; it stays so till the image
        is."""

    def add_layer(
        self, diff_ids: Sequence[str], file: Path, blob: Descriptor, progress: Callable[[int], None]
    ) -> None:
        """Store the layer that is in `file`, on those before it; `progress` takes the bytes of it read so
        far."""

    def has_image(self, image_id: str) -> bool: ...

    def add_image(self, config: bytes) -> None:
        """Store the image, whose layers are stored."""


class Pulled(NamedTuple):
    """The image's id, the digest of the manifest (or index) that its name stands for, and whether it is new
    here."""

    image_id: str
    digest: str
    is_new: bool


def pull(
    registry: Registry, selector: str, platform: Platform, sink: Sink, output: Output, stop: threading.Event
) -> Pulled:
    """Fetch the image that a tag or digest stands for. Every byte is checked against its digest before it is
    used.

    Raises NotFound, Unauthorized, Unavailable, InvalidParameter and System; Stopped soon after `stop` was
    set.
    """
    top_digest, manifest = _manifest(registry, selector, platform)
    output(messages.status(f"Pulling from {registry.repository}", selector))
    is_new = not sink.has_image(manifest.config.digest)
    if is_new:
        _image(registry, manifest, sink, output, stop)
    output(messages.status(f"Digest: {top_digest}"))
    return Pulled(manifest.config.digest, top_digest, is_new)


def _image(registry: Registry, manifest: Manifest, sink: Sink, output: Output, stop: threading.Event) -> None:
    with sink.temporary() as directory:
        config = fetch_config(registry, manifest, directory / "config", stop)
        diff_ids = _diff_ids(config, manifest)
        _layers(registry, manifest, diff_ids, directory, sink, output, stop)
        sink.add_image(config)


def fetch_config(registry: Registry, manifest: Manifest, file: Path, *stops: threading.Event) -> bytes:
    """The bytes of an image's configuration, by way of a file."""
    if manifest.config.size > _CONFIG_LIMIT:
        raise InvalidParameter(f"image configuration is longer than {_CONFIG_LIMIT} bytes")
    download = _Download(registry, manifest.config, file, *stops)
    download.run(lambda _: None, lambda _: None)
    return file.read_bytes()


def _manifest(registry: Registry, selector: str, platform: Platform) -> tuple[str, Manifest]:
    data, _ = registry.manifest(selector)
    top_digest = manifests.digest(data)
    for _ in range(3):
        found = manifests.parse(data)
        if isinstance(found, Manifest):
            return top_digest, found
        data, _ = registry.manifest(manifests.descriptor(manifests.choose(found, platform)).digest)
    raise InvalidParameter("manifest: indexes within indexes")


def _diff_ids(config: bytes, manifest: Manifest) -> list[str]:
    try:
        found = json.loads(config)["rootfs"]["diff_ids"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidParameter("invalid image JSON, no RootFS key") from error
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise InvalidParameter("image configuration: rootfs.diff_ids is not a list of digests")
    if len(found) != len(manifest.layers):
        raise InvalidParameter(
            f"mismatched image rootfs and manifest layers: {len(found)} and {len(manifest.layers)}"
        )
    return found


def _layers(
    registry: Registry,
    manifest: Manifest,
    diff_ids: list[str],
    directory: Path,
    sink: Sink,
    output: Output,
    stop: threading.Event,
) -> None:
    """Several layers are fetched at once; each is unpacked when it and those below it are there."""
    present = 0
    for number, layer in enumerate(manifest.layers):
        if present == number and sink.has_layer(diff_ids[: number + 1]):
            present += 1
            output(messages.step("Already exists", messages.short(layer.digest)))
        else:
            output(messages.step("Pulling fs layer", messages.short(layer.digest)))
    failed = threading.Event()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="pull") as pool:
        fetched: dict[str, Future[Path]] = {}
        for layer in manifest.layers[present:]:
            if layer.digest not in fetched:
                download = _Download(registry, layer, directory / layer.digest, stop, failed)
                fetched[layer.digest] = pool.submit(download.with_messages, output)
        try:
            for number in range(present, len(manifest.layers)):
                layer = manifest.layers[number]
                _unpack(diff_ids[: number + 1], fetched[layer.digest].result(), layer, sink, output, stop)
        except BaseException:
            failed.set()
            raise


def _unpack(
    diff_ids: list[str], file: Path, layer: Descriptor, sink: Sink, output: Output, stop: threading.Event
) -> None:
    name = messages.short(layer.digest)
    if not sink.has_layer(diff_ids):
        report = Throttled(lambda done: output(messages.progress("Extracting", name, done, layer.size)), stop)
        try:
            sink.add_layer(diff_ids, file, layer, report)
        except EngineError as error:
            which = f"it is the layer {layer.digest}"
            hint = f"{error.hint}; {which}" if error.hint else which
            raise type(error)(f"failed to register layer: {error.message}", hint=hint) from error
        output(messages.progress("Extracting", name, layer.size, layer.size))
    output(messages.step("Pull complete", name))


class _Download:
    """One blob into one file: gone on with where it broke off."""

    def __init__(self, registry: Registry, blob: Descriptor, file: Path, *stops: threading.Event) -> None:
        self.file = file
        self._registry = registry
        self._blob = blob
        self._stops = stops
        self._hash = hashlib.sha256()
        self._done = 0

    def with_messages(self, output: Output) -> Path:
        name, size = messages.short(self._blob.digest), self._blob.size
        self.run(
            lambda done: output(messages.progress("Downloading", name, done, size)),
            lambda text: output(messages.step(text, name)),
        )
        output(messages.step("Verifying Checksum", name))
        output(messages.step("Download complete", name))
        return self.file

    def run(self, report: Callable[[int], None], tell: Callable[[str], None]) -> None:
        """`report` gets the bytes that are there, `tell` what is waited for. Raises System if the bytes are
        not those of the digest, Unavailable if the registry ceases to serve."""
        throttled = Throttled(report, *self._stops)
        with self.file.open("wb") as out:
            persistently(lambda: self._fetch(out, throttled), tell, *self._stops, progress=lambda: self._done)
        found = "sha256:" + self._hash.hexdigest()
        if found != self._blob.digest:
            raise System(
                f"filesystem layer verification failed for digest {self._blob.digest}",
                hint=f"what the registry sent has the digest {found}",
            )

    def _fetch(self, out: BinaryIO, report: Throttled) -> None:
        answer = self._registry.blob(self._blob, self._done)
        try:
            if answer.status != 206 and self._done:
                out.seek(0)
                out.truncate()
                self._hash = hashlib.sha256()
                self._done = 0
            while data := self._read(answer):
                self._done += len(data)
                if self._done > self._blob.size:
                    raise System(
                        f"blob {self._blob.digest} is longer than the {self._blob.size} bytes promised"
                    )
                self._hash.update(data)
                out.write(data)
                report(self._done)
        finally:
            answer.close()
        if self._done < self._blob.size:
            raise self._broken_off("unexpected EOF")

    def _read(self, answer: Answer) -> bytes:
        try:
            return answer.read(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise self._broken_off(str(error) or type(error).__name__) from error

    def _broken_off(self, why: str) -> Unavailable:
        return Unavailable(f"blob {self._blob.digest}: the download broke off: {why}")
