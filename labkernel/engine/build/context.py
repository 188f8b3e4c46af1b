"""The build context: a tar stream, indexed and hashed as it arrives.

Nothing is unpacked: file contents go one behind the other into a single spool file, and the tree is kept in
memory. So a context cannot reach outside of itself, a cached COPY costs one pass over the stream, and COPY
writes each file once, where it belongs.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import BinaryIO

from labkernel.engine.build.dockerignore import Dockerignore
from labkernel.engine.build.sources import File, Found, metadata_hash, transfer
from labkernel.engine.errors import InvalidParameter
from labkernel.engine.image.compression import decompressed
from labkernel.engine.image.tarformat import DIRECTORY, HARD_LINK, REGULAR, SYMLINK, Entry, TarReader
from labkernel.engine.image.whiteouts import is_kept

_CHUNK = 1 << 20
_LINK_LIMIT = 255  # as many as Docker follows
_DOCKERIGNORE = ".dockerignore"


@dataclass(slots=True, eq=False)
class _Node:
    file: File
    offset: int = 0
    digest: str = ""
    children: dict[str, _Node] = field(default_factory=dict)


class BuildContext:
    """A received context, until `close`. It is a SourceTree."""

    def __init__(self, spool: int) -> None:
        self._spool = spool
        self._top = _implied_directory()
        self._last_parent = ("", self._top)
        self.ignore = Dockerignore()
        self.size = 0  # bytes of file content

    @classmethod
    def receive(cls, stream: BinaryIO, directory: Path) -> BuildContext:
        """Read a tar, plain or compressed, to its end; contents go to a nameless file in `directory`.

        .dockerignore is not applied yet: see `apply_dockerignore`. Raises InvalidParameter, OSError.
        """
        context = cls(os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600))
        try:
            with os.fdopen(context._spool, "wb", _CHUNK, closefd=False) as out:
                reader = TarReader(decompressed(stream))
                for entry in reader:
                    context._add(reader, entry, out)
        except BaseException:
            context.close()
            raise
        return context

    def close(self) -> None:
        os.close(self._spool)

    def __enter__(self) -> BuildContext:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def apply_dockerignore(self, dockerfile: str = "Dockerfile") -> None:
        """Take out what .dockerignore excludes; a NAME.dockerignore beside the Dockerfile NAME counts in
        place of it. Raises InvalidParameter."""
        for name in (dockerfile + _DOCKERIGNORE, _DOCKERIGNORE):
            text = self.read(name)
            if text is not None:
                break
        else:
            return
        self.ignore = Dockerignore(text.decode("utf-8", "replace"), name)
        if self.ignore:
            self._remove_excluded(self._top, "")

    def read(self, path: str) -> bytes | None:
        """The content of a regular file; None if there is none."""
        found = self.find(path)
        if found is None or found.file.type != REGULAR:
            return None
        return self.read_at(found, 0, found.file.size)

    # --- the tree

    def require(self) -> None:
        """Raises InvalidParameter if there is none to copy from."""

    def find(self, path: str) -> Found | None:
        stack: list[tuple[str, _Node]] = [("", self._top)]
        parts = path.split("/")[::-1]
        links = 0
        while parts:
            part = parts.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if len(stack) > 1:
                    stack.pop()
                continue
            parent_path, parent = stack[-1]
            node = parent.children.get(part)
            if node is None:
                return None
            if node.file.type == SYMLINK:
                links += 1
                if links > _LINK_LIMIT:
                    return None
                if node.file.linkname.startswith("/"):
                    del stack[1:]
                parts.extend(node.file.linkname.split("/")[::-1])
                continue
            stack.append((f"{parent_path}/{part}" if parent_path else part, node))
        found_path, node = stack[-1]
        return Found(found_path, node.file, node)

    def children(self, directory: Found) -> Iterator[Found]:
        node: _Node = directory.place
        for name in sorted(node.children):
            child = node.children[name]
            path = f"{directory.path}/{name}" if directory.path else name
            yield Found(path, child.file, child)

    def digest(self, found: Found) -> str:
        node: _Node = found.place
        return node.digest

    def copy_content(self, found: Found, out: int) -> None:
        node: _Node = found.place
        transfer(self._spool, node.offset, node.file.size, out)

    def read_at(self, found: Found, offset: int, size: int) -> bytes:
        node: _Node = found.place
        return os.pread(self._spool, max(0, min(size, node.file.size - offset)), node.offset + offset)

    def nearest(self, path: str) -> list[str]:
        """Paths of the context that the one given may have meant, nearest first."""
        directory = posixpath.dirname(posixpath.normpath(path))
        parent = self.find(directory) if directory else self.find("")
        if parent is None or parent.file.type != DIRECTORY:
            return self.nearest(directory)
        names = [name for name in parent.place.children if name != _DOCKERIGNORE]
        base = posixpath.basename(posixpath.normpath(path))
        folded = {name.lower(): name for name in names}
        near = [folded[name] for name in get_close_matches(base.lower(), list(folded), n=3, cutoff=0.6)]
        return [posixpath.join(parent.path, name) for name in near]

    # --- filling it

    def _add(self, reader: TarReader, entry: Entry, out: BinaryIO) -> None:
        path = _clean(reader, entry.name)
        file = File(
            type=entry.type,
            mode=entry.mode,
            uid=entry.uid,
            gid=entry.gid,
            size=entry.size,
            mtime=entry.mtime,
            linkname=os.fsdecode(entry.linkname),
            major=entry.major,
            minor=entry.minor,
            xattrs={name: value for name, value in entry.xattrs.items() if is_kept(name)},
        )
        if not path:
            if entry.type == DIRECTORY:
                self._top.file = file
            return
        above, _, base = path.rpartition("/")
        # Archives go through one folder after the other.
        if above != self._last_parent[0]:
            self._last_parent = (above, self._parent(reader, above))
        parent = self._last_parent[1]
        if entry.type == HARD_LINK:
            parent.children[base] = self._hard_link(reader, entry, path)
            return
        digest = metadata_hash(path, file)
        node = _Node(file, self.size)
        left = entry.size
        while left:
            data = reader.read(min(left, _CHUNK))
            digest.update(data)
            out.write(data)
            left -= len(data)
        self.size += entry.size
        node.digest = digest.hexdigest()
        old = parent.children.get(base)
        if old is not None:
            if old.file.type == DIRECTORY == entry.type:
                node.children = old.children
            self._last_parent = ("", self._top)
        parent.children[base] = node

    def _parent(self, reader: TarReader, path: str) -> _Node:
        """The directory at a path, made with those above it where the archive leaves them out."""
        node = self._top
        parts = path.split("/") if path else []
        for index, part in enumerate(parts):
            child = node.children.get(part)
            if child is not None and child.file.type == SYMLINK:
                found = self.find("/".join(parts[: index + 1]))
                child = found.place if found else None
            if child is None:
                child = _implied_directory()
                child.digest = metadata_hash("/".join(parts[: index + 1]), child.file).hexdigest()
                node.children[part] = child
            if child.file.type != DIRECTORY:
                raise reader.error("not a directory")
            node = child
        return node

    def _hard_link(self, reader: TarReader, entry: Entry, path: str) -> _Node:
        target = _clean(reader, entry.linkname)
        node = self._top
        for part in target.split("/") if target else ():
            child = node.children.get(part)
            if child is None:
                raise reader.error(f"a hard link to {target!r}, which is not there,")
            node = child
        if node.file.type == DIRECTORY:
            raise reader.error("a hard link to a directory")
        # One File under two names; the digest counts a name, so each has its own node.
        digest = metadata_hash(path, node.file)
        digest.update(node.digest.encode())
        return _Node(node.file, node.offset, digest.hexdigest())

    def _remove_excluded(self, top: _Node, path: str) -> None:
        pending = [(top, path)]
        directories: list[tuple[_Node, str, str]] = []
        while pending:
            node, path = pending.pop()
            for name, child in list(node.children.items()):
                child_path = f"{path}/{name}" if path else name
                if child.file.type == DIRECTORY:
                    directories.append((node, name, child_path))
                    pending.append((child, child_path))
                elif self.ignore.excludes(child_path):
                    del node.children[name]
        for node, name, child_path in reversed(directories):
            # An excluded folder stays as long as an exception keeps something in it.
            if not node.children[name].children and self.ignore.excludes(child_path):
                del node.children[name]


def _implied_directory() -> _Node:
    return _Node(File(type=DIRECTORY, mode=0o755))


def _clean(reader: TarReader, name: bytes) -> str:
    """A member's path from the top; raises InvalidParameter for one that leads outside."""
    path = os.fsdecode(name).removeprefix("./").rstrip("/")
    if "//" in path or path.startswith(("/", ".")) or "/." in path:
        path = posixpath.normpath(path.lstrip("/") or ".")
        if path == ".." or path.startswith("../"):
            raise reader.error("a path outside of the build context")
    return "" if path == "." else path


def check_inside(path: str) -> str:
    """A COPY source as a path from the context's top. Raises InvalidParameter for one that leads outside."""
    clean = posixpath.normpath(path.removeprefix("/") or ".")
    if clean == ".." or clean.startswith("../"):
        raise InvalidParameter(
            f"forbidden path outside the build context: {path} ()",
            hint="only what is in the build context (the folder given to the build) can be copied",
        )
    return "" if clean == "." else clean
