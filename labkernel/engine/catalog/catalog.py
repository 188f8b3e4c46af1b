"""The catalog: makes an image by its name, shows how, and leaves nothing half made."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from labkernel.engine.catalog.made import MadeImage, Progress, Reporter, RunInRootfs, discard
from labkernel.engine.catalog.names import DESCRIPTIONS, Entry, resolve, unknown_tag
from labkernel.engine.errors import NotFound, System

if TYPE_CHECKING:
    from labkernel.engine.catalog.archive import Archive
    from labkernel.engine.catalog.packages import PackageIndex

_UNUSED_AFTER = 90 * 24 * 3600  # seconds


class Catalog:
    """Makes images of `names()` from what this machine is configured to use.

    `cache` keeps downloads, and can be shared by several engines; `work` is where images are made (default:
    in the cache) and should be on the store's file system, so that the result can be moved there. `run`
    runs a program in a root file system. `sources` is the path or the text of apt sources to use instead of
    the machine's own.
    """

    def __init__(
        self, cache: Path, run: RunInRootfs, *, work: Path | None = None, sources: str | None = None
    ) -> None:
        self._cache = cache
        self._work = work or cache / "work"
        self._run = run
        self._sources = sources

    def names(self) -> list[str]:
        return list(DESCRIPTIONS)

    def describe(self, name: str) -> str:
        """One line about an image. Raises NotFound for a name that is not the catalog's."""
        return DESCRIPTIONS[self._entry(name).repository]

    async def make(self, name: str, progress: Callable[[Progress], None]) -> MadeImage:
        """Makes the image `name` ("debian", "golang:1.27"). `progress` is called on the event loop.

        Raises NotFound for a name or tag there is none of, Unavailable when an archive cannot be reached or
        trusted, InvalidParameter for given sources that make no sense, System when the making fails.
        Downloads are kept whatever happens; a making that was interrupted begins again with them.
        """
        entry = self._entry(name)
        steps = {"busybox": 4, "debian": 5, "golang": 2}[entry.repository]
        report = Reporter(progress, steps)
        with await self._alone(progress, steps):
            await report.in_thread(self._remove_left_over)
            directory, lock = self._directory()
            try:
                made = replace(await self._make(entry, directory, report), lock=lock)
                await report.in_thread(self._forget_unused)
                return made
            except BaseException as error:
                await report.in_thread(discard, directory, lock)
                if isinstance(error, OSError):
                    raise System(f"cannot make {name}: {error}", hint=_space_hint(error)) from error
                raise

    async def _make(self, entry: Entry, directory: Path, report: Reporter) -> MadeImage:
        # Imported on use: an engine whose images are all there needs no OpenPGP, no HTTP client and no
        # parser of debs.
        if entry.repository == "golang":
            from labkernel.engine.catalog import golang

            return await golang.make(entry, self._cache, directory, report)

        from labkernel.engine.catalog import busybox, debian
        from labkernel.engine.catalog.download import Missing

        report.step("Reading the package lists of the Debian archive")
        try:
            archive, index = await report.in_thread(self._open_archive, entry)
        except Missing as error:
            raise unknown_tag(
                entry.repository, entry.tag, f"this machine's archive has no release {entry.release}"
            ) from error
        make = busybox.make if entry.repository == "busybox" else debian.make
        return await make(entry, archive, index, directory, self._run, report)

    def _open_archive(self, entry: Entry) -> tuple[Archive, PackageIndex]:
        from labkernel.engine.catalog.apt_conf import read_apt_conf
        from labkernel.engine.catalog.apt_sources import read_sources
        from labkernel.engine.catalog.archive import Archive, machine_architecture
        from labkernel.engine.catalog.download import Downloader

        conf = read_apt_conf()
        archive = Archive.open(
            read_sources(self._sources, os.environ),
            entry.release,
            downloader=Downloader(conf),
            conf=conf,
            cache=self._cache,
            architecture=machine_architecture(),
        )
        return archive, archive.index()

    @staticmethod
    def _entry(name: str) -> Entry:
        entry = resolve(name)
        if entry is None:
            raise NotFound(
                f"the catalog has no image named {name}", hint=f"it makes {', '.join(DESCRIPTIONS)}"
            )
        return entry

    async def _alone(self, progress: Callable[[Progress], None], steps: int) -> BinaryIO:
        """An open lock file: one making at a time uses the cache, whichever engine it belongs to."""
        self._cache.mkdir(parents=True, exist_ok=True)
        lock = (self._cache / "lock").open("wb")
        try:
            said = False
            while not _try_lock(lock.fileno()):
                if not said:
                    progress(Progress(0, steps, "Waiting for another image that is being made"))
                    said = True
                await asyncio.sleep(0.1)
        except BaseException:
            lock.close()
            raise
        return lock

    def _forget_unused(self) -> None:
        """Removes downloads that no making has used for a long time: superseded packages, indices, wheels."""
        for kind in ("indices", "packages", "wheels"):
            for file in (self._cache / kind).glob("*"):
                if time.time() - file.stat().st_mtime > _UNUSED_AFTER:
                    file.unlink()

    def _remove_left_over(self) -> None:
        """Removes what killed engines left: a directory is in use while the lock in it is held."""
        self._work.mkdir(parents=True, exist_ok=True)
        for old in self._work.iterdir():
            lock = os.open(old / "lock", os.O_WRONLY | os.O_CREAT, 0o600)
            if _try_lock(lock):
                discard(old, lock)
            else:
                os.close(lock)

    def _directory(self) -> tuple[Path, int]:
        """A fresh directory to make an image in, and its lock, to be held until the image is discarded."""
        directory = Path(tempfile.mkdtemp(dir=self._work))
        lock = os.open(directory / "lock", os.O_WRONLY | os.O_CREAT, 0o600)
        _try_lock(lock)
        return directory, lock


def _space_hint(error: OSError) -> str | None:
    return "free some space: a debian takes 400 MB while it is made" if error.errno == errno.ENOSPC else None


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
