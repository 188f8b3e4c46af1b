"""A container's file system as seen from the engine: its own mounts, and filling a new volume."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path

from labkernel.engine.image.layers import copy_tree
from labkernel.engine.image.mounted import mounted
from labkernel.engine.image.store import Store
from labkernel.engine.linux import mounts
from labkernel.engine.linux.namespaces import CLONE_NEWNS, unshare
from labkernel.engine.linux.paths import RESOLVE_IN_ROOT, openat2


def separate_mounts() -> None:
    """Give this process a mount namespace of its own, in which the machine's later mounts still appear."""
    unshare(CLONE_NEWNS)
    mounts.mount("", "/", flags=mounts.MS_REC | mounts.MS_SLAVE)


def make_init_layer(directory: Path) -> Path:
    """The layer between an image and what its container writes: the places that every container mounts over.

    Made of empty files and directories, so that mounting leaves no trace in the container's own layer
    (`docker diff`, `docker commit`) and works on an image that has nothing at all.
    """
    for name in ("dev/pts", "dev/shm", "etc", "proc", "sys"):
        (directory / name).mkdir(mode=0o755, parents=True, exist_ok=True)
    for name in (".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf"):
        (directory / name).touch(mode=0o755)
    mtab = directory / "etc" / "mtab"
    if not mtab.is_symlink():
        mtab.symlink_to("/proc/mounts")
    return directory


def has_path(lower: Sequence[Path], path: str) -> bool:
    """Whether one of the layers has something there."""
    relative = posixpath.normpath(path).lstrip("/")
    return any(os.path.lexists(layer / relative) for layer in lower)


def fill_volume(store: Store, lower: Sequence[Path], destination: str, volume: Path) -> None:
    """Copy what the image has at `destination` into an empty volume, as Docker does; nothing where it has no
    directory there.
    """
    relative = posixpath.normpath(destination).lstrip("/")
    with mounted(store, lower) as root, store.temporary() as place:
        descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            source = openat2(descriptor, relative, os.O_PATH | os.O_DIRECTORY, resolve=RESOLVE_IN_ROOT)
        except OSError:  # not a directory in the image
            return
        finally:
            os.close(descriptor)
        try:
            copy = volume
            if not os.path.ismount(volume):
                copy = place / "copy"
                copy.mkdir()
            copy_tree(
                Path(f"/proc/self/fd/{source}"),
                copy,
                overlay=store.overlay,
                keep_ownership=store.layers.keep_ownership,
            )
            status = os.fstat(source)
            os.chmod(copy, status.st_mode & 0o7777)
            if store.layers.keep_ownership:
                os.chown(copy, status.st_uid, status.st_gid)
        finally:
            os.close(source)
        if copy != volume:
            os.rename(copy, volume)  # onto the empty directory: all of it, or nothing
