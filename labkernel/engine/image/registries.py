"""Images to and from registries: what `distribution` transfers, put into the store and taken from it."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from labkernel.engine.distribution import messages
from labkernel.engine.distribution.manifests import (
    DOCKER_LAYER,
    Descriptor,
    Manifest,
    Platform,
    digest,
    parse,
)
from labkernel.engine.distribution.messages import Message, Output
from labkernel.engine.distribution.progress import Stopped
from labkernel.engine.distribution.pull import pull
from labkernel.engine.distribution.push import push
from labkernel.engine.distribution.registry import Credentials, Registry
from labkernel.engine.errors import InvalidParameter, NotFound
from labkernel.engine.image import config as image_config
from labkernel.engine.image.hashing import HashingWriter
from labkernel.engine.image.images import Image, Images
from labkernel.engine.image.layers import Layer, StoredBlob
from labkernel.engine.image.platforms import parse_platform
from labkernel.engine.image.reference import Reference
from labkernel.engine.image.store import Store

_PLATFORM = ("architecture", "os", "os.version", "variant")
# gzip's fastest level but two: layers are mostly sent over fast networks.
_GZIP_LEVEL = 3

T = TypeVar("T")


class Registries:
    """Pulls and pushes images of a store; `output` takes the API's JSON messages, in the event loop."""

    def __init__(self, images: Images) -> None:
        self._images = images

    async def pull(
        self,
        reference: Reference,
        output: Output,
        auth: dict[str, Any] | None = None,
        *,
        platform: str = "",
    ) -> Image:
        """Fetch the image of a reference with a tag or a digest and give it that name. `auth` is the API's
        AuthConfig; `platform` like `linux/arm64`, this machine's by default.

        Raises Unavailable, which names the registry that did not answer, NotFound, Unauthorized and System.
        """
        return await _in_thread(
            output, lambda emit, stop: self._pull(reference, emit, stop, auth, parse_platform(platform))
        )

    async def push(
        self, image: Image, reference: Reference, output: Output, auth: dict[str, Any] | None = None
    ) -> None:
        """Store an image in the registry of a reference, under its tag. Raises as `pull`, and Forbidden."""
        await _in_thread(output, lambda emit, stop: self._push(image, reference, emit, stop, auth))

    async def log_in(self, domain: str, auth: dict[str, Any]) -> None:
        """Raises Unauthorized unless the registry takes these credentials, Unavailable when it is silent."""
        await asyncio.to_thread(
            lambda: Registry(domain, "", familiar_name=domain, credentials=Credentials.of(auth)).greet()
        )

    async def describe(self, reference: Reference, auth: dict[str, Any] | None) -> dict[str, Any]:
        """`GET /distribution/{name}/json`: what a reference stands for in its registry. Raises as `pull`."""
        return await asyncio.to_thread(_describe, reference, auth)

    def _pull(
        self,
        reference: Reference,
        output: Output,
        stop: threading.Event,
        auth: dict[str, Any] | None,
        platform: Platform,
    ) -> Image:
        reference = reference.with_default_tag()
        registry = Registry(
            reference.domain,
            reference.repository,
            familiar_name=reference.familiar_name,
            credentials=Credentials.of(auth),
        )
        selector = reference.digest or str(reference.tag)
        sink = _Sink(self._images)
        try:
            pulled = pull(registry, selector, platform, sink, output, stop)
        finally:
            sink.settle()
        is_newer = pulled.is_new or reference.canonical not in {
            name.canonical for name in self._images.references(pulled.image_id)
        }
        self._images.tag(pulled.image_id, reference)
        self._images.tag(pulled.image_id, reference.with_digest(pulled.digest))
        words = "Downloaded newer image" if is_newer else "Image is up to date"
        output(messages.status(f"Status: {words} for {reference.familiar}"))
        return self._images.get(pulled.image_id)

    def _push(
        self,
        image: Image,
        reference: Reference,
        output: Output,
        stop: threading.Event,
        auth: dict[str, Any] | None,
    ) -> None:
        reference = reference.with_default_tag()
        if reference.tag is None:
            raise InvalidParameter("cannot push a digest reference")
        output(messages.status(f"The push refers to repository [{reference.name}]"))
        registry = Registry(
            reference.domain,
            reference.repository,
            familiar_name=reference.familiar_name,
            actions="pull,push",
            credentials=Credentials.of(auth),
        )
        layers = [_PushedLayer(self._images.store, layer) for layer in self._images.layers(image)]
        pushed = push(registry, reference.tag, self._images.serialised(image.id), layers, output, stop)
        self._images.tag(image.id, reference.with_digest(pushed.digest))


def _describe(reference: Reference, auth: dict[str, Any] | None) -> dict[str, Any]:
    registry = Registry(
        reference.domain,
        reference.repository,
        familiar_name=reference.familiar_name,
        credentials=Credentials.of(auth),
    )
    data, media_type = registry.manifest(reference.digest or str(reference.tag))
    found = parse(data)
    if isinstance(found, Manifest):
        with contextlib.closing(registry.blob(found.config)) as answer:
            config = image_config.parse(answer.read())
        platforms = [config]
    else:
        platforms = [entry.get("platform") or {} for entry in found]
    return {
        "Descriptor": {"mediaType": media_type, "digest": digest(data), "size": len(data)},
        "Platforms": [
            {key: str(platform[key]) for key in _PLATFORM if platform.get(key)} for platform in platforms
        ],
    }


async def _in_thread(output: Output, work: Callable[[Output, threading.Event], T]) -> T:
    """Run blocking work in a thread of its own, for it may take minutes; its messages arrive in the loop, and
    cancelling tells it to stop."""
    loop = asyncio.get_running_loop()
    stop = threading.Event()

    def emit(message: Message) -> None:
        if stop.is_set():
            raise Stopped
        loop.call_soon_threadsafe(output, message)

    executor = ThreadPoolExecutor(1, thread_name_prefix="registry")
    future = loop.run_in_executor(executor, work, emit, stop)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stop.set()
        # Nobody waits for it any more: what it ends with is not to be reported as forgotten.
        future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        raise
    finally:
        executor.shutdown(wait=False)


class _Sink:
    """Puts what is pulled into the store."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._layers = images.store.layers
        self._chain: list[str] = []

    def temporary(self) -> AbstractContextManager[Path]:
        return self._images.store.temporary()

    def has_layer(self, diff_ids: Sequence[str]) -> bool:
        self._chain = image_config.chain_ids(diff_ids)
        return self._layers.want(self._chain[-1])

    def add_layer(
        self, diff_ids: Sequence[str], file: Path, blob: Descriptor, progress: Callable[[int], None]
    ) -> None:
        self._chain = image_config.chain_ids(diff_ids)
        parent = self._chain[-2] if len(self._chain) > 1 else None
        with file.open("rb") as tar:
            self._layers.unpack(
                cast(BinaryIO, _Watched(tar, progress)),
                parent,
                expected_diff_id=diff_ids[-1],
                blob=StoredBlob(file, blob),
            )

    def has_image(self, image_id: str) -> bool:
        try:
            self._images.get(image_id)
        except NotFound:
            return False
        return True

    def add_image(self, config: bytes) -> None:
        self._images.create(config)

    def settle(self) -> None:
        """What belongs to no image after all goes again."""
        self._layers.settle(self._chain)
        self._layers.collect()


class _Watched:
    """A file that tells how much of it has been read."""

    def __init__(self, file: BinaryIO, report: Callable[[int], None]) -> None:
        self._file = file
        self._report = report

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self._report(self._file.tell())
        return data


class _PushedLayer:
    """A layer as registries take it: the gzip it came as, or one made for the purpose, always the same."""

    def __init__(self, store: Store, layer: Layer) -> None:
        self.diff_id = layer.diff_id
        self._store = store
        self._layer = layer

    @contextmanager
    def blob(self) -> Iterator[tuple[Path, Descriptor]]:
        kept = self._layer.blob
        if kept is not None and kept.media_type.endswith("gzip"):
            yield self._store.blobs.path(kept.digest), kept
            return
        with self._store.temporary() as place:
            file = place / "layer"
            with file.open("wb") as out:
                hashed = HashingWriter(out)
                with gzip.GzipFile("", "wb", _GZIP_LEVEL, cast(BinaryIO, hashed), mtime=0) as compressed:
                    self._store.layers.pack(self._layer, compressed)
            yield file, Descriptor(DOCKER_LAYER, hashed.digest, hashed.size)
