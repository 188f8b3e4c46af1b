"""Images to and from registries: what `distribution` transfers, put into the store and taken from it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from isal import igzip

from labkernel.engine.distribution import messages
from labkernel.engine.distribution.credentials import Credentials
from labkernel.engine.distribution.lookup import describe, log_in, search
from labkernel.engine.distribution.manifests import DOCKER_LAYER, Descriptor, Platform
from labkernel.engine.distribution.messages import Message, Output
from labkernel.engine.distribution.progress import Stopped
from labkernel.engine.distribution.pull import Pulled, pull
from labkernel.engine.distribution.push import Known, push
from labkernel.engine.distribution.registry import Registry
from labkernel.engine.distribution.settings import DOCKER_HUB, RegistrySettings
from labkernel.engine.errors import NotFound, Unauthorized, Unavailable
from labkernel.engine.image import config as image_config
from labkernel.engine.image.blob_sources import BlobSource, BlobSources
from labkernel.engine.image.hashing import HashingWriter
from labkernel.engine.image.images import Image, Images
from labkernel.engine.image.layers import Layer, StoredBlob
from labkernel.engine.image.platforms import parse_platform
from labkernel.engine.image.reference import Reference
from labkernel.engine.image.store import Store

log = logging.getLogger(__name__)

# ISA-L's default: packs as zlib's fastest levels do, several times as fast. Layers are mostly sent over fast
# networks, where compressing is what takes the time.
_GZIP_LEVEL = 2

_MOUNTED_FROM = 8
"""Repositories that a token is asked for beside the one that is pushed to."""

T = TypeVar("T")
Auth = dict[str, Any] | None


class Registries:
    """Pulls and pushes images of a store; `output` takes the API's JSON messages, in the event loop. `auth`
    is the API's AuthConfig."""

    def __init__(self, images: Images, settings: RegistrySettings | None = None) -> None:
        self._images = images
        self.settings = settings or RegistrySettings()
        self._sources = BlobSources(images.store.database)

    async def pull(
        self,
        reference: Reference,
        output: Output,
        auth: dict[str, Any] | None = None,
        *,
        platform: str = "",
    ) -> Image:
        """Fetch the image of a reference with a tag or a digest and give it that name. `platform` like
        `linux/arm64`, this machine's by default.

        Raises Unavailable, which names the registry that did not answer, NotFound, Unauthorized and System.
        """
        return (await self._pull_all(reference.with_default_tag(), output, auth, platform))[0]

    async def pull_tags(
        self,
        reference: Reference,
        output: Output,
        auth: dict[str, Any] | None = None,
        *,
        platform: str = "",
    ) -> list[Image]:
        """Fetch every image of a repository, as `docker pull --all-tags`. Raises as `pull`."""
        return await self._pull_all(reference, output, auth, platform)

    async def _pull_all(
        self, reference: Reference, output: Output, auth: dict[str, Any] | None, platform: str
    ) -> list[Image]:
        wanted = parse_platform(platform)
        return await _in_thread(output, lambda emit, stop: self._pull(reference, emit, stop, auth, wanted))

    async def push(
        self, images: Sequence[tuple[Image, str]], reference: Reference, output: Output, auth: Auth = None
    ) -> None:
        """Store images in the repository of a reference, each under its tag. Raises as `pull`, and
        Forbidden."""
        await _in_thread(output, lambda emit, stop: self._push(images, reference, emit, stop, auth))

    async def describe(self, reference: Reference, auth: Auth = None) -> dict[str, Any]:
        """What a reference stands for in its registry (`GET /distribution/{name}/json`). Raises as `pull`."""

        def work(_: Output, stop: threading.Event) -> dict[str, Any]:
            named = reference.with_default_tag()
            return self._first(named, auth, lambda registry: describe(registry, _selector(named), stop))

        return await _in_thread(lambda _: None, work)

    async def log_in(self, address: str, auth: Auth) -> str:
        """Check a login; the token to keep instead of the password, or nothing. Raises Unauthorized,
        Unavailable."""
        credentials = Credentials.of(auth)
        return await _in_thread(lambda _: None, lambda _, stop: log_in(address, credentials, self.settings))

    async def search(self, domain: str, term: str, limit: int, auth: Auth = None) -> list[dict[str, Any]]:
        """Repositories of a registry that fit a term. Raises Unavailable, Unauthorized."""
        credentials = Credentials.of(auth)
        return await _in_thread(
            lambda _: None, lambda _, stop: search(domain, term, limit, credentials, self.settings)
        )

    def _first(self, reference: Reference, auth: Auth, work: Callable[[Registry], T]) -> T:
        """Work with the first of a reference's registries that can do it: Docker Hub's mirrors, then itself;
        what a mirror lacks, or asks for, is no reason to stop."""
        mirrors = self.settings.mirrors if reference.domain == DOCKER_HUB else ()
        for address in mirrors:
            try:
                return work(self._open(address, reference, None))
            except (Unavailable, NotFound, Unauthorized) as error:
                log.info("the mirror %s does not have %s: %s", address, reference.familiar, error.message)
        return work(self._open(reference.domain, reference, auth))

    def _open(self, address: str, reference: Reference, auth: Auth, **options: Any) -> Registry:
        return Registry(
            address,
            reference.repository,
            familiar_name=reference.familiar_name,
            credentials=Credentials.of(auth),
            settings=self.settings,
            **options,
        )

    def _pull(
        self, reference: Reference, output: Output, stop: threading.Event, auth: Auth, platform: Platform
    ) -> list[Image]:
        def fetch(registry: Registry) -> list[Pulled]:
            selectors = [_selector(reference)] if reference.tag or reference.digest else registry.tags()
            return [self._fetch(registry, reference, name, platform, output, stop) for name in selectors]

        fetched = self._first(reference, auth, fetch)
        if not fetched:
            raise NotFound(f"repository {reference.familiar_name} has no tags")
        words = "Downloaded newer image" if any(new for _, _, new in fetched) else "Image is up to date"
        output(messages.status(f"Status: {words} for {reference.familiar}"))
        return [self._images.get(image_id) for image_id, _, _ in fetched]

    def _fetch(
        self,
        registry: Registry,
        reference: Reference,
        selector: str,
        platform: Platform,
        output: Output,
        stop: threading.Event,
    ) -> Pulled:
        """One image, named; whether it was new, or its name was."""
        named = reference if reference.tag or reference.digest else reference.with_tag(selector)
        sink = _Sink(self._images, lambda diff_id, blob: self._remember(diff_id, blob, reference))
        try:
            pulled = pull(registry, selector, platform, sink, output, stop)
        finally:
            sink.settle()
        known = {name.canonical for name in self._images.references(pulled.image_id)}
        self._images.tag(pulled.image_id, named)
        self._images.tag(pulled.image_id, named.with_digest(pulled.digest))
        return pulled._replace(is_new=pulled.is_new or named.canonical not in known)

    def _push(
        self,
        images: Sequence[tuple[Image, str]],
        reference: Reference,
        output: Output,
        stop: threading.Event,
        auth: Auth,
    ) -> None:
        output(messages.status(f"The push refers to repository [{reference.name}]"))
        known = [
            source
            for image, _ in images
            for diff_id in image_config.diff_ids(image.config)
            for source in self._sources.of(diff_id, reference.domain, reference.repository)
        ]
        others = {source.repository for source in known} - {reference.repository}
        registry = self._open(
            reference.domain, reference, auth, actions="pull,push", sources=sorted(others)[:_MOUNTED_FROM]
        )
        for image, tag in images:
            layers = [
                _PushedLayer(self._images.store, layer, self._known(layer, reference))
                for layer in self._images.layers(image)
            ]
            pushed = push(registry, tag, self._images.serialised(image.id), layers, output, stop)
            self._images.tag(image.id, reference.with_digest(pushed.digest))
            for layer, blob in zip(layers, pushed.layers, strict=True):
                self._remember(layer.diff_id, blob, reference)

    def _known(self, layer: Layer, reference: Reference) -> list[Known]:
        found = self._sources.of(layer.diff_id, reference.domain, reference.repository)
        return [Known(source.blob, source.repository) for source in found]

    def _remember(self, diff_id: str, blob: Descriptor, reference: Reference) -> None:
        if blob.media_type.endswith("gzip"):  # what is pushed
            self._sources.add(diff_id, BlobSource(blob, reference.domain, reference.repository))


def _selector(reference: Reference) -> str:
    return reference.digest or str(reference.tag)


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

    def __init__(self, images: Images, remember: Callable[[str, Descriptor], None]) -> None:
        self._images = images
        self._remember = remember
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
        # Only what was unpacked: that an archive holds a layer is else no more than somebody's word.
        self._remember(diff_ids[-1], blob)

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

    def __init__(self, store: Store, layer: Layer, known: Sequence[Known]) -> None:
        self.diff_id = layer.diff_id
        self._known = known
        self._store = store
        self._layer = layer

    def known(self) -> Sequence[Known]:
        return self._known

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
                with igzip.IGzipFile("", "wb", _GZIP_LEVEL, hashed, mtime=0) as compressed:  # type: ignore[no-untyped-call]
                    self._store.layers.pack(self._layer, compressed)
            yield file, Descriptor(DOCKER_LAYER, hashed.digest, hashed.size)
