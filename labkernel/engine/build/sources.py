"""What COPY and ADD read from: a tree of files, be it the build context or an image."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from labkernel.engine.build.threads import stop_if_cancelled
from labkernel.engine.image.tarformat import REGULAR

_SMALL = 1 << 17
_PIECE = 1 << 26
_NO_RANGE_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)


@dataclass(slots=True, eq=False)
class File:
    """One file of a tree. `type` is as in tar; `mtime` is in nanoseconds.

    Names of the same hard-linked file share one File, or one `identity`.
    """

    type: bytes = REGULAR
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    linkname: str = ""
    major: int = 0
    minor: int = 0
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    identity: object = None


@dataclass(frozen=True, slots=True)
class Found:
    """A file at a path (no leading slash, "" is the top); `place` is the tree's own."""

    path: str
    file: File
    place: Any


class SourceTree(Protocol):
    def find(self, path: str) -> Found | None:
        """The file at a path, symbolic links followed inside the tree; None if there is none."""

    def children(self, directory: Found) -> Iterator[Found]:
        """What is in a directory, sorted by name; links are not followed."""

    def digest(self, found: Found) -> str:
        """A sha256 in hex over name, type, mode, owner, link and content. Times do not count."""

    def copy_content(self, found: Found, out: int) -> None:
        """Write a regular file's content to a descriptor."""

    def read_at(self, found: Found, offset: int, size: int) -> bytes:
        """Part of a regular file's content; b"" at its end."""


def metadata_hash(path: str, file: File) -> Any:
    """A sha256 that has seen all of a file but its content."""
    numbers = f"{file.mode:o} {file.uid} {file.gid} {file.size} {file.major} {file.minor}"
    fields = f"{path}\0{file.type[0]} {numbers}\0{file.linkname}\0"
    if file.xattrs:
        fields += "".join(f"{name}={value.hex()}\0" for name, value in sorted(file.xattrs.items()))
    return hashlib.sha256(fields.encode("utf-8", "surrogateescape") + b"\0")


def walk(tree: SourceTree, top: Found) -> Iterator[Found]:
    """All below a directory, not itself, each directory before what is in it."""
    pending = [top]
    while pending:
        for found in tree.children(pending.pop()):
            yield found
            if found.file.type == b"5":
                pending.append(found)


def transfer(source: int, offset: int, size: int, out: int) -> None:
    """Copy bytes between descriptors, in the kernel where it can (copy_file_range(2))."""
    if size <= _SMALL:
        data = os.pread(source, size, offset)
        if len(data) == size and os.write(out, data) == size:
            return
        # Rare: an interrupted or a full write. Start over with the loop below, which reports what is wrong.
        os.ftruncate(out, 0)
        os.lseek(out, 0, os.SEEK_SET)
    end = offset + size
    in_kernel = True
    while offset < end:
        stop_if_cancelled()
        if in_kernel:
            try:
                copied = os.copy_file_range(source, out, min(_PIECE, end - offset), offset)
            except OSError as error:
                if error.errno not in _NO_RANGE_COPY:
                    raise
                in_kernel = False
                continue
        else:
            copied = os.write(out, os.pread(source, min(1 << 20, end - offset), offset))
        if copied == 0:
            raise OSError(errno.EIO, "the file became shorter while it was copied")
        offset += copied
