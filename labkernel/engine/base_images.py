"""Where an image comes from when it is named: the store, a registry that answers, or the catalog, in this
order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from labkernel.engine.build.builder import Builder
from labkernel.engine.build.context import BuildContext
from labkernel.engine.build.interface import BuildOptions
from labkernel.engine.build.threads import in_thread
from labkernel.engine.catalog.catalog import Catalog
from labkernel.engine.catalog.made import MadeImage, Progress
from labkernel.engine.catalog.names import resolve as resolve_catalog
from labkernel.engine.errors import EngineError, NotFound, Unavailable
from labkernel.engine.events import Events
from labkernel.engine.image import config as image_config
from labkernel.engine.image.images import Image, Images
from labkernel.engine.image.platforms import check_platform, own_platform, parse_platform
from labkernel.engine.image.reference import DEFAULT_DOMAIN, OFFICIAL_PREFIX, Reference, parse_reference
from labkernel.engine.image.registries import Registries
from labkernel.engine.image.store import Store
from labkernel.engine.image.tarwriter import write_tar

log = logging.getLogger(__name__)

Output = Callable[[dict[str, Any]], None]
"""Takes the messages of the API's JSON streams."""


class BaseImages:
    """Implements `build.interface.BaseImages`, pull, and the making of base images."""

    def __init__(self, images: Images, events: Events, catalog: Catalog, registries: Registries) -> None:
        self._images = images
        self._events = events
        self._catalog = catalog
        self.registries = registries
        self.builder: Builder | None = None  # set by the engine: builder and base images need each other
        self._making: dict[str, asyncio.Lock] = {}

    def descriptions(self) -> dict[str, str]:
        """What the catalog makes: a line about each."""
        return {name: self._catalog.describe(name) for name in self._catalog.names()}

    def known_names(self) -> list[str]:
        return self._catalog.names()

    async def find(self, reference: str, output: Output, *, platform: str = "", pull: bool = False) -> Image:
        """The image of that name, fetched or made if it is not there for that platform.

        Raises:
            NotFound: nobody has it; the hint names what is near.
        """
        if not pull:
            with contextlib.suppress(NotFound):
                return self._stored(reference, platform)
        await self.pull(parse_reference(reference).with_default_tag(), output, platform=platform)
        return self._stored(reference, platform)

    def _stored(self, reference: str, platform: str) -> Image:
        image = self._images.resolve(reference)
        check_platform(reference, image.config, platform)
        return image

    async def pull(
        self,
        reference: Reference,
        output: Output,
        auth: dict[str, Any] | None = None,
        *,
        platform: str = "",
    ) -> None:
        """Fetch the image from its registry, or make it if no registry answers and the catalog knows it. The
        catalog makes images for this machine's platform only.

        Raises:
            NotFound, Unauthorized, Unavailable, InvalidParameter.
        """
        wanted = parse_platform(platform)
        try:
            image = await self.registries.pull(reference, output, auth, platform=platform)
        except EngineError as error:
            # No answer, none for us, or not more of them today: to a learner these are all the same.
            name = _catalog_name(reference)
            if name is None or resolve_catalog(name) is None:
                if isinstance(error, Unavailable):
                    raise self._nobody_has_it(reference, error) from error
                raise
            if wanted[:2] != own_platform()[:2]:
                raise NotFound(
                    f"no matching manifest for {wanted} in the manifest list entries",
                    hint=f"{error.message}, and the catalog makes images for {own_platform()} only",
                ) from error
            output({"status": f"{error.message}; making {reference.familiar} here from the catalog"})
            await self.make(name, output)
            return
        self._events.publish("image", "pull", reference.familiar, name=reference.familiar_name)
        log.info("pulled %s: %s", reference.familiar, image.id)

    async def push(
        self, image: Image, reference: Reference, output: Output, auth: dict[str, Any] | None = None
    ) -> None:
        """Raises as `Registries.push`."""
        await self.registries.push(image, reference, output, auth)
        self._events.publish("image", "push", reference.familiar, name=reference.familiar_name)

    def _nobody_has_it(self, reference: Reference, error: Unavailable) -> NotFound:
        known = [ref.familiar for image in self._images.list() for ref in self._images.references(image.id)]
        known += self._catalog.names()
        near = get_close_matches(reference.familiar, known, n=3) or get_close_matches(
            reference.familiar_name, known, n=3
        )
        hint = f"did you mean {' or '.join(dict.fromkeys(near))}? " if near else ""
        return NotFound(
            f"pull access denied for {reference.familiar_name}, repository does not exist or may require "
            f"'docker login': {error.message}",
            hint=f"{hint}the catalog makes {', '.join(self._catalog.names())} with no registry; "
            "`labkernel images load FILE` brings others",
        )

    async def make(self, name: str, output: Output) -> list[Reference]:
        """Make a base image with no registry; returns the names it got.

        Raises:
            NotFound: the catalog has no such name.
            Unavailable, System: as `Catalog.make`.
        """
        async with self._making.setdefault(name, asyncio.Lock()):
            made = await self._catalog.make(name, lambda progress: output(_message(progress)))
            try:
                image = await self._store(made, output)
                references = [parse_reference(text).with_default_tag() for text in made.references]
                for reference in references:  # before anything else: what has no name may be pruned
                    self._images.tag(image.id, reference)
                    self._events.publish("image", "tag", image.id, name=reference.familiar)
                    output({"status": f"Made {reference.familiar}: {image.id}"})
                return references
            finally:
                await in_thread(made.discard)

    async def _store(self, made: MadeImage, output: Output) -> Image:
        if made.recipe is not None:
            assert self.builder is not None
            (made.recipe.context / "Dockerfile").write_text(made.recipe.dockerfile)
            with await in_thread(_receive, made.recipe.context, self._images.store) as context:
                # The host's network: as an ordinary user it may be the only one that leads out.
                options = BuildOptions(host_config={"NetworkMode": "host"})
                return self._images.get(await self.builder.build(context, options, output))
        assert made.rootfs is not None
        layer = await in_thread(self._images.store.layers.adopt, made.rootfs, None)
        document = {**made.config, "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]}}
        document.setdefault("created", image_config.timestamp())
        return self._images.create(document)


def _receive(directory: Path, store: Store) -> BuildContext:
    """A directory as the builder takes it: a tar, written at one end of a pipe and read at the other."""
    read_end, write_end = os.pipe()

    def pack() -> None:
        with contextlib.suppress(BrokenPipeError), os.fdopen(write_end, "wb") as out:
            write_tar(directory, "/", out, name="")

    packer = threading.Thread(target=pack, name="recipe-context")
    packer.start()
    try:
        with os.fdopen(read_end, "rb") as tar, store.temporary() as place:
            return BuildContext.receive(tar, place)
    finally:
        packer.join()


def _catalog_name(reference: Reference) -> str | None:
    """`docker.io/library/debian:latest` -> `debian:latest`; None for what the catalog cannot have."""
    if (
        reference.domain != DEFAULT_DOMAIN
        or not reference.repository.startswith(OFFICIAL_PREFIX)
        or reference.digest
    ):
        return None
    return f"{reference.familiar_name}:{reference.tag}"


def _message(progress: Progress) -> dict[str, Any]:
    message: dict[str, Any] = {"status": progress.text, "id": f"{progress.step}/{progress.steps}"}
    if progress.total:
        message["progressDetail"] = {
            "current": progress.done,
            "total": progress.total,
            "units": progress.unit,
        }
        message["progress"] = f"{progress.done}/{progress.total} {progress.unit}"
    return message


def cache_directory() -> Path:
    """Where the catalog keeps downloads: once per machine and user, so that a second engine fetches
    nothing again.
    """
    from platformdirs import user_cache_path

    chosen = os.environ.get("LABKERNEL_CACHE")
    return Path(chosen) if chosen else user_cache_path("labkernel")
