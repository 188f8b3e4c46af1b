"""What `RUN --mount` shows to a step: caches that persist, files of the context or a stage, files in memory.

A cache belongs to no image: it lies in the store beside the layers, found by its id. Mount points that a step
needs are no part of its layer.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import posixpath
import stat
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path

from labkernel.engine.build.bind_mounts import ContextFiles, KnownSources, bound, write_out
from labkernel.engine.build.container_config import joined_path
from labkernel.engine.build.copying import Ownership, Source
from labkernel.engine.build.instructions import Run
from labkernel.engine.build.interface import FileMount
from labkernel.engine.build.rootfs import ROOT, Rootfs
from labkernel.engine.build.run_options import PRIVATE, RunMount
from labkernel.engine.build.sources import File, SourceTree
from labkernel.engine.build.threads import in_thread, temporary
from labkernel.engine.image.store import Store
from labkernel.engine.linux import trees


class CacheMounts:
    """The directories of `--mount=type=cache`, and who uses them now."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._root = store.root / "cache-mounts"
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: Counter[Path] = Counter()
        self.known = KnownSources()

    async def directories(
        self,
        mounts: Sequence[RunMount],
        sources: Sequence[Source | None],
        place: Path,
        held: AsyncExitStack,
        files: ContextFiles,
    ) -> list[Path | None]:
        """Where each mount's files are: those of `sources`, or what a cache has kept. They are there, and
        caches are in use, until `held` is closed.

        One that is `locked` waits for whoever has it. All take locks in the same order, so none waits for
        ever."""
        for name in sorted({_name(m) for m in mounts if m.type == "cache" and m.sharing == "locked"}):
            await held.enter_async_context(self._locks.setdefault(name, asyncio.Lock()))
        return [
            await self._directory(mount, source, place / f"mount-{number}", held, files)
            for number, (mount, source) in enumerate(zip(mounts, sources, strict=True))
        ]

    async def _directory(
        self,
        mount: RunMount,
        source: Source | None,
        place: Path,
        held: AsyncExitStack,
        files: ContextFiles,
    ) -> Path | None:
        if mount.type == "tmpfs" or mount.type in PRIVATE:
            return None
        if mount.type == "cache":
            path = held.enter_context(self._taken(mount))
            await self._make(path, mount, source)
            return path
        assert source is not None, "a bind has one"
        place.mkdir()
        is_read_only = mount.is_read_only
        return await bound(source, files, place, self._store, held, is_read_only=is_read_only)

    async def _make(self, path: Path, mount: RunMount, source: Source | None) -> None:
        """The directory of a cache, with its first content: there as a whole, or not at all."""
        async with self._locks.setdefault(f"{path.name} made", asyncio.Lock()):
            if path.exists():
                return
            self._root.mkdir(mode=0o700, exist_ok=True)
            async with temporary(self._store) as place:
                made = place / "cache"
                made.mkdir()
                if self._store.keep_ownership:
                    os.chown(made, mount.uid, mount.gid)
                made.chmod(mount.mode)
                if source is not None:
                    owner = None if mount.stage else ROOT
                    await write_out(self._store, source, made, Ownership(owner))
                made.rename(path)

    async def prune(self) -> tuple[list[str], int]:
        """Remove the caches that no step is using: their names, and the bytes that were in them."""
        if not self._root.exists():
            return [], 0
        async with temporary(self._store) as place:
            taken = [name for name in os.listdir(self._root) if not self._users[self._root / name]]
            for name in taken:  # at once, so that no step begins with one of them meanwhile
                (self._root / name).rename(place / name)
            return sorted(taken), await in_thread(trees.size, place)

    @contextmanager
    def _taken(self, mount: RunMount) -> Iterator[Path]:
        """Where a cache is, or will be; `private` takes another that is free."""
        name = _name(mount)
        path, number = self._root / name, 0
        while mount.sharing == "private" and self._users[path]:
            number += 1
            path = self._root / f"{name}-{number}"
        self._users[path] += 1
        try:
            yield path
        finally:
            self._users[path] -= 1


def _name(mount: RunMount) -> str:
    return hashlib.sha256(mount.id.encode()).hexdigest()


class MountPoints:
    """The places in a step's root file system at which something is mounted: made before, removed after."""

    def __init__(self, rootfs: Rootfs, upper: Path) -> None:
        self._rootfs = rootfs
        self._upper = upper
        self._before = set(_directories(upper))
        self._files: list[str] = []

    def make(self, target: str, *, is_directory: bool) -> None:
        """Raises OSError, NotADirectoryError among them."""
        if is_directory:
            self._rootfs.make_directories(target)
            return
        if self._rootfs.resolve(target).exists:
            return
        above = self._rootfs.make_directories(posixpath.dirname(target))
        self._files.append(self._rootfs.put(above, posixpath.basename(target), File(), (0, 0)))

    def made(self) -> list[str]:
        """The directories that came into the upper one with them, the deepest first."""
        return [path for path in _directories(self._upper) if path not in self._before]

    def remove(self, made: list[str]) -> None:
        """Take away what the step has not made its own: it wrote into it, or changed owner or mode."""
        for file in self._files:
            with suppress(OSError):
                status = os.lstat(file)
                if stat.S_ISREG(status.st_mode) and status.st_size == 0:
                    os.unlink(file)
        for path in made:
            with suppress(OSError):
                if self._is_changed(path):
                    continue
                os.rmdir(path)

    def _is_changed(self, path: str) -> bool:
        below = Rootfs([Path(layer) for layer in self._rootfs.top.lowers], overlay=self._rootfs.overlay).find(
            os.path.relpath(path, self._upper)
        )
        now = os.lstat(path)
        if below is None:
            return False
        return (below.file.mode, below.file.uid, below.file.gid) != (
            stat.S_IMODE(now.st_mode),
            now.st_uid,
            now.st_gid,
        )


async def mount_sources(
    step: Run, tree: Callable[[str], Awaitable[SourceTree]], known: KnownSources
) -> tuple[list[str], list[Source | None]]:
    """What cache and history know of a step's flags, and for each mount what it shows of a tree (`tree` finds
    it by the name of a stage or an image, "" is the context). Raises InvalidParameter."""
    shown = [f"--network={step.network}"] if step.network else []
    sources: list[Source | None] = []
    for mount in step.mounts:
        shown.append(f"--mount={mount.text}")
        source = None
        if mount.type == "bind" or mount.stage:
            source = await in_thread(known.at, await tree(mount.stage), mount.source or "/")
            if mount.type == "bind":
                shown.append(source.key)
        sources.append(source)
    return shown, sources


def mounted(
    mounts: Sequence[RunMount], paths: Sequence[Path | None], points: MountPoints, workdir: str
) -> list[FileMount]:
    """The mounts as the runner wants them, their mount points made; no path for files in memory."""
    found: list[FileMount] = []
    for mount, path in zip(mounts, paths, strict=True):
        if mount.type in PRIVATE:
            continue
        target = joined_path(workdir, mount.target)
        points.make(target, is_directory=path is None or path.is_dir())
        if path is None:
            size = (f"size={mount.size}",) if mount.size else ()
            found.append(FileMount(Path("tmpfs"), target, "tmpfs", ("nosuid", "nodev", "mode=1777", *size)))
        else:
            found.append(FileMount(path, target, "bind", ("ro",) if mount.is_read_only else ()))
    return found


def _directories(top: Path) -> list[str]:
    """All below a directory, the deepest first."""
    return [path for path, _, _ in os.walk(top, topdown=False) if path != str(top)]
