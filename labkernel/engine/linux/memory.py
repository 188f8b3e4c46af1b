"""Directories in memory: what must not be written to a disk."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labkernel.engine.linux import mounts as m


@contextmanager
def in_memory(place: Path) -> Iterator[Path]:
    """A directory that only its owner can enter, whose files are in memory and gone afterwards.

    It is mounted in this process's mount namespace, and goes with that when the process is killed. Where the
    kernel can promise it (tmpfs(5), Linux 6.4 as root), what is in it is not swapped out either."""
    place.mkdir(mode=0o700)
    try:
        _mount(place, "mode=700,noswap")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _mount(place, "mode=700")
    try:
        yield place
    finally:
        m.umount2(str(place), m.MNT_DETACH)


def _mount(place: Path, options: str) -> None:
    m.mount("tmpfs", str(place), "tmpfs", m.MS_NOSUID | m.MS_NODEV, options)
