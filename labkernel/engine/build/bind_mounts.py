"""`RUN --mount=type=bind`: a part of a stage, an image or the context, shown to a step.

Layers are shown as they are, by an overlay that reads them where they lie, so a large tree costs no more than
a small one. The context has no files of its own (see `context`): those that are wanted are written once a
build. What a step writes goes to a directory of its own, and away with it.
"""

from __future__ import annotations

import asyncio
import posixpath
from collections import OrderedDict
from contextlib import AsyncExitStack
from pathlib import Path

from labkernel.engine.build.copying import Ownership, Source, copy, source_at
from labkernel.engine.build.rootfs import ROOT, Rootfs, rootfs_of
from labkernel.engine.build.sources import SourceTree
from labkernel.engine.build.threads import in_thread, temporary
from labkernel.engine.image.mounted import mounted
from labkernel.engine.image.store import Store
from labkernel.engine.image.tarformat import DIRECTORY

_KNOWN = 1000


class ContextFiles:
    """The files of one build's context that steps have asked for, until `close`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held = AsyncExitStack()
        self._made: dict[str, Path] = {}
        self._making = asyncio.Lock()

    async def directory(self, source: Source) -> Path:
        """A directory with what is in a directory of the context, or with one file of it. Not to be written
        to: other steps see it too."""
        async with self._making:
            if source.found.path not in self._made:
                place = await self._held.enter_async_context(temporary(self._store)) / "files"
                place.mkdir()
                await write_out(self._store, source, place, Ownership(ROOT))
                self._made[source.found.path] = place
            return self._made[source.found.path]

    async def close(self) -> None:
        await self._held.aclose()


class KnownSources:
    """The cache keys of what lies in layers: those never change, so each is hashed once."""

    def __init__(self) -> None:
        self._keys: OrderedDict[tuple[tuple[str, ...], str], str] = OrderedDict()

    def at(self, tree: SourceTree, path: str) -> Source:
        """The file or directory at a path. Raises InvalidParameter."""
        if not isinstance(tree, Rootfs):
            return source_at(tree, path)
        where = (tree.top.lowers, path)
        known = self._keys.get(where)
        found = tree.find(path) if known is not None else None
        if known is None or found is None:
            source = source_at(tree, path)
            self._keys[where] = source.key
            if len(self._keys) > _KNOWN:
                self._keys.popitem(last=False)
            return source
        return Source(tree, found, posixpath.basename(posixpath.normpath("/" + path)), known)


async def bound(
    source: Source,
    files: ContextFiles,
    place: Path,
    store: Store,
    held: AsyncExitStack,
    *,
    is_read_only: bool,
) -> Path:
    """Where a step finds a source, until `held` is closed; `place` is an empty directory. What is written
    there, unless it is read only, changes nothing elsewhere."""
    if isinstance(source.tree, Rootfs):
        layers = [Path(layer) for layer in source.tree.top.lowers]
        path = source.found.path  # links are resolved in it
    else:
        layers = [await files.directory(source)]
        path = "" if source.found.file.type == DIRECTORY else source.name
    if not layers:  # FROM scratch
        layers = [place / "empty"]
        layers[0].mkdir()
    upper, work = None, None
    if not is_read_only:
        upper, work = place / "upper", place / "work"
        upper.mkdir()
        work.mkdir()
    return held.enter_context(mounted(store, layers, upper, work)) / path


async def write_out(store: Store, source: Source, place: Path, ownership: Ownership) -> None:
    """Copy a source into a directory: what is in it, or the file by its name."""
    target = rootfs_of(store, upper=place)
    destination = "/" if source.found.file.type == DIRECTORY else f"/{source.name}"
    await in_thread(copy, target, [source], destination, ownership)
