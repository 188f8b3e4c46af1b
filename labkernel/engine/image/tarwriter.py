"""Directories to tar archives: sorted, no names of users, times in whole seconds, so the same tree gives
the same bytes everywhere. `changeset` is the way back."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from labkernel.engine.errors import System
from labkernel.engine.image import whiteouts
from labkernel.engine.image.tarformat import (
    BLOCK,
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    END,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    Entry,
    header,
    padding,
)
from labkernel.engine.image.whiteouts import Overlay
from labkernel.engine.linux.paths import RESOLVE_IN_ROOT, openat2
from labkernel.engine.linux.trees import Node, attributes, walk

_CHUNK = 1 << 20
_ZEROS = bytes(BLOCK)
_TYPES = {
    stat.S_IFREG: REGULAR,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK_DEVICE,
    stat.S_IFIFO: FIFO,
}


class Writer(Protocol):
    def write(self, data: memoryview | bytes, /) -> object: ...


def write_tar(
    root: int | Path,
    path: str,
    out: Writer,
    *,
    name: str | None = None,
    overlay: Overlay | None = None,
    one_file_system: bool = False,
    newest: int | None = None,
    share_opaque: bool = False,
) -> int:
    """Write what `path` inside `root` is, and all below it, as a tar; the bytes of content are returned.

    A symbolic link's content is its target, as in Docker's sizes of layers.
    `root` is a directory or a descriptor of one. Links on the way to `path` are followed inside `root`, one
    at its end is packed as a link. Its top is called `name` in the archive (by default its own last
    component); "" packs a directory's content only. With `overlay`, overlayfs's whiteouts become OCI's.
    Sockets are left out. With `newest` (Unix seconds) files that are younger are set to that time, in the
    tree and in the archive; with `share_opaque` opaque directories are marked for all kinds of overlays, in
    the tree. Raises OSError (FileNotFoundError if there is no such path), System for a tree
    overlayfs cannot be packed from.
    """
    writer = _TreeWriter(out, overlay, newest, share_opaque)
    with _opened(root) as root_fd:
        parent_path, _, base = os.fsencode(path).rstrip(b"/").rpartition(b"/")
        parent = openat2(
            root_fd, parent_path.strip(b"/") or b".", os.O_PATH | os.O_DIRECTORY, resolve=RESOLVE_IN_ROOT
        )
        try:
            base = base or b"."
            top = Node(parent, base, b"", os.lstat(base, dir_fd=parent))
            called = base if name is None else os.fsencode(name).strip(b"/")
            if called:
                writer.add(top, called)
            elif not top.is_directory:
                raise System(f"{path}: only a directory can be packed without its own name")
            if top.is_directory:
                prefix = called + b"/" if called not in (b"", b".") else b""
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                directory = os.open(base, flags, dir_fd=parent)
                try:
                    writer.add_opaque(directory, prefix)
                    for node in walk(directory, one_file_system=one_file_system):
                        writer.add(node, prefix + node.path)
                finally:
                    os.close(directory)
        finally:
            os.close(parent)
    out.write(END)
    return writer.size


@contextmanager
def _opened(root: int | Path) -> Iterator[int]:
    if isinstance(root, int):
        yield root
        return
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class _TreeWriter:
    def __init__(self, out: Writer, overlay: Overlay | None, newest: int | None, share_opaque: bool) -> None:
        self.size = 0
        self._write: Callable[[memoryview | bytes], object] = out.write
        self._overlay = overlay
        self._newest = newest
        self._share_opaque = share_opaque
        self._links: dict[tuple[int, int], bytes] = {}
        self._buffer = bytearray(_CHUNK)

    def add(self, node: Node, name: bytes) -> None:
        status = node.status
        kind = _TYPES.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return
        if self._overlay is not None and kind == CHARACTER and whiteouts.is_whiteout(status):
            parent, slash, base = name.rpartition(b"/")
            # No time: when a file was deleted is not part of what the layer says, and would change its
            # digest.
            self._write(header(Entry(parent + slash + whiteouts.PREFIX + base, mode=0)))
            return
        entry = Entry(
            name,
            kind,
            mode=status.st_mode & 0o7777,
            uid=status.st_uid,
            gid=status.st_gid,
            mtime=self._time(status, node),
        )
        if kind == REGULAR:
            self._add_file(node, entry, status)
            return
        if kind == DIRECTORY:
            entry.name += b"/"
        elif kind == SYMLINK:
            entry.linkname = os.readlink(node.base, dir_fd=node.directory)
            self.size += len(entry.linkname)
        elif kind in (CHARACTER, BLOCK_DEVICE):
            entry.major, entry.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        path = b"/proc/self/fd/%d/%b" % (node.directory, node.base)
        found = attributes(path)
        self._set_attributes(entry, found)
        if kind != DIRECTORY and status.st_nlink > 1 and self._is_linked(entry, status):
            return
        self._write(header(entry))
        if kind == DIRECTORY and self._overlay is not None and self._overlay.is_opaque(found):
            self._write(header(Entry(entry.name + whiteouts.OPAQUE, mode=0)))
            if self._share_opaque:
                self._overlay.share_opaque(path, found)

    def add_opaque(self, directory: int, prefix: bytes) -> None:
        """The top of a layer has no entry of its own, but may hide all that lies below it."""
        if not prefix and self._overlay is not None and self._overlay.is_opaque(attributes(directory)):
            self._write(header(Entry(whiteouts.OPAQUE, mode=0)))

    def _add_file(self, node: Node, entry: Entry, status: os.stat_result) -> None:
        if status.st_nlink > 1 and self._is_linked(entry, status):
            return
        try:
            # Non-blocking: should it have become a fifo, opening must not wait.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(node.base, flags, dir_fd=node.directory)
        except FileNotFoundError:
            return
        try:
            entry.size = left = os.fstat(descriptor).st_size
            self._set_attributes(entry, attributes(descriptor))
            self.size += left
            self._write(header(entry))
            view = memoryview(self._buffer)
            while left:
                count = os.readv(descriptor, [view[: min(left, _CHUNK)]])
                if count == 0:  # Truncated while it was read: the header has promised its size.
                    view[: min(left, _CHUNK)] = bytes(min(left, _CHUNK))
                    count = min(left, _CHUNK)
                self._write(view[:count])
                left -= count
        finally:
            os.close(descriptor)
        if rest := padding(entry.size):
            self._write(_ZEROS[:rest])

    def _is_linked(self, entry: Entry, status: os.stat_result) -> bool:
        """Write a hard link if the same file has been written before."""
        key = (status.st_dev, status.st_ino)
        first = self._links.setdefault(key, entry.name)
        if first == entry.name:
            return False
        entry.type, entry.linkname, entry.size, entry.xattrs = HARD_LINK, first, 0, {}
        self._write(header(entry))
        return True

    def _set_attributes(self, entry: Entry, found: dict[str, bytes]) -> None:
        if not found:
            return
        entry.xattrs = {key: value for key, value in found.items() if whiteouts.is_kept(key)}
        if self._overlay is not None and (mark := self._overlay.unpackable(found)):
            raise System(
                f"{os.fsdecode(entry.name)!r} has overlayfs's {mark} mark: its content is not all here",
                hint="mount overlays with redirect_dir=off,metacopy=off",
            )

    def _time(self, status: os.stat_result, node: Node) -> int:
        if self._newest is None or status.st_mtime <= self._newest:
            return status.st_mtime_ns
        time = self._newest * 1_000_000_000
        os.utime(node.base, ns=(time, time), dir_fd=node.directory, follow_symlinks=False)
        return time
