"""Directory trees as a whole: walking one in a fixed order, and removing one.

A container may have made directories deeper than Python's stack or a path's length allows, so nothing here
recurses.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from labkernel.engine.linux.paths import RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, openat2

_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Node(NamedTuple):
    """A file met on a walk: the open directory it is in, its name there, its path from the top, its lstat."""

    directory: int
    base: bytes
    path: bytes
    status: os.stat_result

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)


def walk(root: int, *, one_file_system: bool = False) -> Iterator[Node]:
    """All below the open directory `root`, not itself: each directory's entries sorted by name (bytes), then
    those of its subdirectories. A node's `directory` is open only until the next node is asked for.

    Directories are looked up from `root` without following symbolic links; one that is gone or replaced
    meanwhile is passed over. With `one_file_system` mount points are met but not entered. Raises OSError.
    """
    pending = [b""]
    device = None
    while pending:
        path = pending.pop()
        try:
            directory = _open(root, path or b".")
        except (FileNotFoundError, NotADirectoryError):
            if not path:
                raise
            continue
        try:
            if one_file_system:
                own = os.fstat(directory).st_dev
                device = own if device is None else device
                if own != device:
                    continue
            below: list[bytes] = []
            for name in sorted(map(os.fsencode, os.listdir(directory))):
                try:
                    status = os.lstat(name, dir_fd=directory)
                except FileNotFoundError:
                    continue
                full = path + b"/" + name if path else name
                node = Node(directory, name, full, status)
                if node.is_directory:
                    below.append(full)
                yield node
            pending.extend(reversed(below))
        finally:
            os.close(directory)


def size(path: Path) -> int:
    """Bytes of the regular files below a directory; what is gone meanwhile does not count."""
    descriptor = os.open(path, _DIRECTORY_FLAGS)
    try:
        return sum(node.status.st_size for node in walk(descriptor) if stat.S_ISREG(node.status.st_mode))
    finally:
        os.close(descriptor)


def _open(root: int, path: bytes) -> int:
    while True:
        try:
            return openat2(
                root, path, os.O_RDONLY | os.O_DIRECTORY, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS
            )
        except BlockingIOError:  # Something was renamed during the look-up: openat2(2), EAGAIN.
            continue


def attributes(target: int | bytes) -> dict[str, bytes]:
    """The extended attributes of an open file, or of a path (of a link itself), sorted by name; {} without
    any."""
    found: dict[str, bytes] = {}
    try:
        if isinstance(target, int):
            for name in sorted(os.listxattr(target)):
                found[name] = os.getxattr(target, name)
        else:
            for name in sorted(os.listxattr(target, follow_symlinks=False)):
                found[name] = os.getxattr(target, name, follow_symlinks=False)
    except OSError:  # No attributes on this file system, or gone meanwhile.
        return found
    return found


def remove(path: Path | bytes, *, directory: int | None = None) -> None:
    """Remove a directory and all below it, never through a symbolic link; nothing is done if it is not there.

    Subdirectories are moved up to the top, one level at a time, so two open directories are enough for any
    depth.
    """
    try:
        top = os.open(path, _DIRECTORY_FLAGS, dir_fd=directory)
    except FileNotFoundError:
        return
    try:
        moved = 0
        while names := os.listdir(top):
            for name in names:
                if not _unlink(name, top):
                    moved = _empty(name, top, moved)
    finally:
        os.close(top)
    os.rmdir(path, dir_fd=directory)


def _unlink(name: str, directory: int) -> bool:
    """Remove a file; False if it is a directory."""
    try:
        os.unlink(name, dir_fd=directory)
    except IsADirectoryError:
        return False
    except FileNotFoundError:
        return True
    return True


def _empty(name: str, top: int, moved: int) -> int:
    """Remove the directory `name` of `top`, its own subdirectories moved up to `top` under numbered names."""
    inner = os.open(name, _DIRECTORY_FLAGS, dir_fd=top)
    try:
        for child in os.listdir(inner):
            if _unlink(child, inner):
                continue
            while True:
                moved += 1
                try:
                    os.rename(child, f".removed-{moved}", src_dir_fd=inner, dst_dir_fd=top)
                    break
                except OSError as error:
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                        raise
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=top)
    return moved
