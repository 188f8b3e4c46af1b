"""What the layers of images do to files: counted from the archive that `docker save` writes.

The Engine API has sizes of layers but not their files. They are in the archive: a tar for each layer, with a
"whiteout" (.wh.NAME) for each file that the layer deletes; its order is known only at its end, from
manifest.json. Only headers are kept.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Protocol

SHOWN = 10
"""Paths that a layer is described by."""
_JSON = 4 << 20
"""Bytes of the largest member that is read as JSON; an index of some hundred images."""
_BUFFER = 1 << 18

ADDED, CHANGED, DELETED = "added", "changed", "deleted"


class Stream(Protocol):
    """What an archive is read from; `read` returns b"" at the end."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Change:
    """A path without a leading slash, what became of it (ADDED, CHANGED, DELETED), its size in bytes."""

    kind: str
    path: str
    size: int = 0


@dataclass(frozen=True)
class LayerFiles:
    """How many files a layer added, changed and deleted; directories are not counted.

    `paths` are some of them: the largest first, then deleted ones.
    """

    added: int
    changed: int
    deleted: int
    paths: tuple[Change, ...] = ()


@dataclass
class Contents:
    """A layer's tar: path -> size in bytes for what is no directory, and what the layer takes away.

    `removed` are paths whose files below are gone, `emptied` directories that start anew ("opaque").
    """

    files: dict[str, int] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    emptied: set[str] = field(default_factory=set)


@dataclass
class Archive:
    """What an archive holds: its layers by member name, None for one that cannot be read, and its JSON."""

    layers: dict[str, Contents | None] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """The id of each layer together with all below it (image-spec, config.md); `diff_ids` lowest first."""
    chain: list[str] = []
    for diff_id in diff_ids:
        if chain:
            diff_id = "sha256:" + hashlib.sha256(f"{chain[-1]} {diff_id}".encode()).hexdigest()
        chain.append(diff_id)
    return chain


def files_of_layers(stream: Stream) -> dict[str, LayerFiles]:
    """Read an archive of `docker save` to its end: chain id -> what that layer does to the files below it.

    A layer that cannot be read (compressed with zstd, say) is left out, and so are those above it. Raises
    tarfile.TarError and what `stream` raises.
    """
    archive = read_archive(stream)
    found: dict[str, LayerFiles] = {}
    for image in archive.documents.get("manifest.json") or []:
        diff_ids = archive.documents[image["Config"]]["rootfs"]["diff_ids"]
        contents = [archive.layers.get(archive.links.get(name, name)) for name in image["Layers"]]
        readable = contents[: contents.index(None)] if None in contents else contents
        counted = count([layer for layer in readable if layer is not None])
        found |= dict(zip(chain_ids(diff_ids), counted, strict=False))
    return found


def read_archive(stream: Stream) -> Archive:
    archive = Archive()
    with tarfile.open(fileobj=stream, mode="r|", bufsize=_BUFFER) as outer:  # type: ignore[call-overload]
        for member in _members(outer):
            if member.issym() or member.islnk():  # how Docker writes a layer that is there twice
                target = posixpath.join(
                    posixpath.dirname(member.name) if member.issym() else "", member.linkname
                )
                archive.links[member.name] = posixpath.normpath(target)
            elif member.isfile():
                file = outer.extractfile(member)
                assert file is not None
                _read_member(archive, member, _Peeked(file))
    return archive


def _read_member(archive: Archive, member: tarfile.TarInfo, file: _Peeked) -> None:
    if file.head[:1] in (b"{", b"["):
        if member.size <= _JSON:
            archive.documents[member.name] = json.loads(file.read(-1))
    elif file.head[257:262] == b"ustar" or file.head[:2] == b"\x1f\x8b" or not any(file.head):
        try:
            archive.layers[member.name] = read_layer(file)
        except (tarfile.TarError, EOFError, OSError):
            archive.layers[member.name] = None


def read_layer(file: Stream) -> Contents:
    """The headers of a layer's tar, plain or compressed with gzip. Raises tarfile.TarError and OSError."""
    contents = Contents()
    with tarfile.open(fileobj=file, mode="r|*", bufsize=_BUFFER) as layer:  # type: ignore[call-overload]
        for member in _members(layer):
            path = member.name.removeprefix("./").strip("/")
            directory, name = posixpath.split(path)
            if name == ".wh..wh..opq":
                contents.emptied.add(directory)
            elif name.startswith(".wh."):
                contents.removed.add(posixpath.join(directory, name.removeprefix(".wh.")))
            elif not member.isdir():
                contents.files[path] = member.size
    return contents


def _members(tar: tarfile.TarFile) -> Iterable[tarfile.TarInfo]:
    """The members of a tar that is read as a stream, without the list of all that it would keep."""
    for member in tar:
        tar.members = []  # type: ignore[attr-defined]
        yield member


def count(layers: Sequence[Contents]) -> list[LayerFiles]:
    """What each layer does to the files of those below it; the lowest is first."""
    below: dict[str, int] = {}
    counted = []
    for layer in layers:
        gone = [path for path in _taken_away(layer, below) if path not in layer.files]
        changes = [
            Change(CHANGED if path in below else ADDED, path, size) for path, size in layer.files.items()
        ]
        changed = sum(change.kind == CHANGED for change in changes)
        largest = sorted(changes, key=lambda change: (-change.size, change.path))[:SHOWN]
        deleted = [Change(DELETED, path, below[path]) for path in sorted(gone)[:SHOWN]]
        counted.append(
            LayerFiles(len(changes) - changed, changed, len(gone), (*largest, *deleted)[: 2 * SHOWN])
        )
        for path in gone:
            del below[path]
        below |= layer.files
    return counted


def _taken_away(layer: Contents, below: Mapping[str, int]) -> list[str]:
    """The paths of `below` that the layer's whiteouts cover."""
    if not layer.removed and not layer.emptied:
        return []
    tops = layer.removed | layer.emptied
    return [path for path in below if path in layer.removed or any(up in tops for up in _above(path))]


def _above(path: str) -> Iterable[str]:
    """The directories that a path is in, and "" for the root."""
    while path:
        path = posixpath.dirname(path)
        yield path


class _Peeked:
    """A stream whose first block is known beforehand, as `head`."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.head = stream.read(512)
        self._rest = self.head

    def read(self, size: int = -1) -> bytes:
        if self._rest:
            taken = self._rest if size < 0 else self._rest[:size]
            self._rest = self._rest[len(taken) :]
            return taken + (self._stream.read() if size < 0 else b"")
        return self._stream.read(size)
