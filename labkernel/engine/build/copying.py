"""COPY and ADD: which files are meant, and putting them into the new layer.

What lands where follows docs.docker.com/reference/dockerfile "ADD" and "COPY"; owners, modes and times of
what is made on the way are those that dockerd gives.
"""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from labkernel.engine.build.context import BuildContext, check_inside
from labkernel.engine.build.dockerignore import Dockerignore
from labkernel.engine.build.filtered import with_parents, without
from labkernel.engine.build.modes import ModeChange
from labkernel.engine.build.patterns import expression, has_wildcards
from labkernel.engine.build.rootfs import ROOT, Directory, Owner, Rootfs
from labkernel.engine.build.sources import File, Found, SourceTree, walk
from labkernel.engine.build.threads import stop_if_cancelled
from labkernel.engine.errors import InvalidParameter
from labkernel.engine.image.compression import decompressed
from labkernel.engine.image.tarformat import DIRECTORY, HARD_LINK, REGULAR, TarReader
from labkernel.engine.image.whiteouts import is_kept


@dataclass(frozen=True)
class Source:
    """One file or folder to copy. `name` is what it is called in a destination folder; `key` its cache key.

    `is_archive`: ADD unpacks it if it is a tar archive.
    """

    tree: SourceTree
    found: Found
    name: str
    key: str
    may_unpack: bool = False


@dataclass(frozen=True)
class Ownership:
    """`owner` None keeps the sources' own; `mode` None as well."""

    owner: Owner | None = ROOT
    mode: ModeChange | None = None


# --- what is meant


def select(
    tree: SourceTree,
    paths: Sequence[str],
    *,
    instruction: str,
    may_unpack: bool = False,
    keeps_parents: bool = False,
    exclude: Sequence[str] = (),
) -> list[Source]:
    """The files that the source words mean, in order. Raises InvalidParameter in Docker's words."""
    try:
        if isinstance(tree, BuildContext):
            tree.require()
        if keeps_parents:
            found = [_directory(*with_parents(tree, path), "") for path in paths]
        else:
            found = [source for path in paths for source in _select(tree, path, may_unpack)]
        if not exclude:
            return found
        patterns = Dockerignore("\n".join(exclude))
        return [kept for source in found if (kept := _without(source, patterns)) is not None]
    except InvalidParameter as error:
        raise InvalidParameter(f"{instruction} failed: {error.message}", hint=error.hint) from None


def source_at(tree: SourceTree, path: str) -> Source:
    """The file or directory at a path, wildcards having no meaning. Raises InvalidParameter."""
    if isinstance(tree, BuildContext):
        tree.require()
    return _source(tree, path, False)


def _select(tree: SourceTree, path: str, may_unpack: bool) -> list[Source]:
    if not has_wildcards(path):
        return [_source(tree, path, may_unpack)]
    clean = posixpath.normpath(path.removeprefix("/").removeprefix("./"))
    try:
        pattern = expression(clean)
    except ValueError as error:
        raise InvalidParameter(str(error)) from None
    top = tree.find("")
    assert top is not None
    matches = sorted(found.path for found in walk(tree, top) if pattern.fullmatch(found.path))
    if not matches:
        raise InvalidParameter(
            "no source files were specified", hint=_absent_hint(tree, path, f"nothing matches {path}")
        )
    return [_source(tree, match, may_unpack) for match in matches]


def _source(tree: SourceTree, path: str, may_unpack: bool) -> Source:
    if isinstance(tree, BuildContext):
        clean = check_inside(path)
        where = "file not found in build context or excluded by .dockerignore: "
    else:
        clean = posixpath.normpath("/" + path).lstrip("/")
        where = ""
    found = tree.find(clean)
    if found is None:
        shown = path.removeprefix("/").removeprefix("./")
        raise InvalidParameter(
            f"{where}stat {shown}: file does not exist", hint=_absent_hint(tree, clean, None)
        )
    name = posixpath.basename(clean)
    if found.file.type != DIRECTORY:
        return Source(tree, found, name, "file:" + tree.digest(found), may_unpack)
    return _directory(tree, found, name)


def _directory(tree: SourceTree, found: Found, name: str) -> Source:
    digests = sorted(tree.digest(below) for below in walk(tree, found))
    if found.path:
        digests = sorted([*digests, tree.digest(found)])
    return Source(tree, found, name, "dir:" + _joined(digests))


def _without(source: Source, patterns: Dockerignore) -> Source | None:
    """A source without what the patterns exclude; None if that is all of it."""
    if source.name and patterns.excludes(source.name):
        return None
    if source.found.file.type != DIRECTORY:
        return source
    return _directory(without(source.tree, source.found, patterns), source.found, source.name)


def _absent_hint(tree: SourceTree, path: str, otherwise: str | None) -> str | None:
    if not isinstance(tree, BuildContext):
        return otherwise or _near_hint(tree, path)
    if rule := tree.ignore.rule(path):
        return f"{path} is excluded by {tree.ignore.name}, line {rule[0]}: {rule[1]}"
    near = tree.nearest(path)
    return f"did you mean {' or '.join(near)}?" if near else otherwise


def _near_hint(tree: SourceTree, path: str) -> str:
    """For a path that is not in the stage or image that --from names."""
    directory, name = posixpath.split(path)
    above = tree.find(directory)
    if above is None or above.file.type != DIRECTORY:
        return f"there is no folder /{directory} in what --from names: its files are meant, not the context's"
    names = [posixpath.basename(child.path) for child in tree.children(above)]
    near = [f"/{posixpath.join(directory, found)}" for found in get_close_matches(name, names)]
    return (
        f"did you mean {' or '.join(near)}?"
        if near
        else f"what --from names has no /{path}: its files are meant, not the context's"
    )


def combined_key(sources: Sequence[Source]) -> str:
    """The cache key of all sources together, in the form that history shows."""
    if len(sources) == 1:
        return sources[0].key
    return "multi:" + _joined([source.key for source in sources])


def _joined(digests: Sequence[str]) -> str:
    return hashlib.sha256(",".join(digests).encode()).hexdigest()


class Heredocs:
    """Sources given in the Dockerfile itself, as a tree of files owned by root, mode 644."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self._contents = contents

    def sources(self) -> list[Source]:
        found = []
        for name, content in self._contents.items():
            digest = hashlib.sha256(name.encode() + b"\0" + content).hexdigest()
            file = File(size=len(content))
            found.append(Source(self, Found(name, file, content), name, f"file:{digest}"))
        return found

    def find(self, path: str) -> Found | None:
        return None

    def children(self, directory: Found) -> Any:
        return iter(())

    def digest(self, found: Found) -> str:
        return hashlib.sha256(found.place).hexdigest()

    def copy_content(self, found: Found, out: int) -> None:
        with os.fdopen(out, "wb", closefd=False) as file:
            file.write(found.place)

    def read_at(self, found: Found, offset: int, size: int) -> bytes:
        content: bytes = found.place
        return content[offset : offset + size]


# --- where it lands


def copy(target: Rootfs, sources: Sequence[Source], destination: str, ownership: Ownership) -> None:
    """Put the sources at an absolute path of the new layer; a trailing slash means a folder.

    Raises InvalidParameter, OSError.
    """
    for source in sources:
        links: dict[object, str] = {}
        try:
            if source.found.file.type == DIRECTORY:
                _copy_directory(target, source, destination, ownership, links)
            elif source.may_unpack and _is_archive(source):
                _unpack(target, source, destination)
            else:
                _copy_file(target, source, destination, ownership, links)
        except NotADirectoryError:
            raise InvalidParameter(
                f"failed to copy files: cannot copy to non-directory: {destination}",
                hint=f"a part of {destination} is a file in the image",
            ) from None
    target.finish()


def _copy_file(
    target: Rootfs, source: Source, destination: str, ownership: Ownership, links: dict[object, str]
) -> None:
    place = target.resolve(destination)
    name = source.name
    if place.directory is not None:
        parent = place.directory
    elif destination.endswith("/"):
        parent = target.make_directories(destination, ownership.owner or ROOT)
    elif len(place.missing) > 1:
        above = posixpath.join(place.parent.path, *place.missing[:-1])
        parent, name = target.make_directories(above, ownership.owner or ROOT), place.missing[-1]
    else:
        parent, name = place.parent, place.name
    _put(target, parent, name, source.tree, source.found, ownership, links)


def _copy_directory(
    target: Rootfs, source: Source, destination: str, ownership: Ownership, links: dict[object, str]
) -> None:
    existed = target.resolve(destination).directory is not None
    top = target.make_directories(destination)
    if not existed and (ownership.owner is not None or ownership.mode is not None):
        mode = ownership.mode(source.found.file.mode, True) if ownership.mode else None
        target.change_owner(top, ownership.owner or ROOT, mode)
    pending: list[tuple[Found, Directory]] = [(source.found, top)]
    while pending:
        directory, into = pending.pop()
        for child in source.tree.children(directory):
            name = posixpath.basename(child.path)
            if child.file.type == DIRECTORY:
                file = _with_mode(child.file, ownership)
                made = target.put_directory(into, name, file, _owner(child.file, ownership))
                pending.append((child, made))
            else:
                _put(target, into, name, source.tree, child, ownership, links)


def _put(
    target: Rootfs,
    parent: Directory,
    name: str,
    tree: SourceTree,
    found: Found,
    ownership: Ownership,
    links: dict[object, str],
) -> None:
    stop_if_cancelled()
    file = found.file
    identity = file.identity if file.identity is not None else file
    known = links.get(identity)
    if known is not None:
        target.link(parent, name, known)
        return
    # A device may be forbidden to who runs the engine; Docker leaves it out too.
    with suppress(PermissionError):
        links[identity] = target.put(
            parent,
            name,
            _with_mode(file, ownership),
            _owner(file, ownership),
            (lambda out: tree.copy_content(found, out)) if file.type == REGULAR else None,
        )


def _owner(file: File, ownership: Ownership) -> Owner:
    return ownership.owner if ownership.owner is not None else (file.uid, file.gid)


def _with_mode(file: File, ownership: Ownership) -> File:
    if ownership.mode is None:
        return file
    return replace(file, mode=ownership.mode(file.mode, file.type == DIRECTORY))


# --- ADD of an archive


def _is_archive(source: Source) -> bool:
    """Whether a file is a tar, possibly compressed: its first header can be read."""
    start = source.tree.read_at(source.found, 0, 1 << 20)
    try:
        return next(iter(TarReader(decompressed(io.BytesIO(start)))), None) is not None
    except InvalidParameter:
        return False


def _unpack(target: Rootfs, source: Source, destination: str) -> None:
    """Unpack below the destination, owners as in the archive; nothing can lead out of the destination."""
    top = target.make_directories(destination)
    made: dict[str, str] = {}
    with io.BufferedReader(_Content(source)) as stream:
        reader = TarReader(decompressed(stream))
        for entry in reader:
            stop_if_cancelled()
            path = posixpath.normpath(os.fsdecode(entry.name).lstrip("/") or ".")
            if path == ".." or path.startswith("../"):
                raise reader.error("a path outside of the destination")
            if path == ".":
                continue
            above, _, name = path.rpartition("/")
            parent = target.make_directories(above, top=top) if above else top
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
                xattrs={key: value for key, value in entry.xattrs.items() if is_kept(key)},
            )
            owner = (entry.uid, entry.gid)
            if entry.type == DIRECTORY:
                target.put_directory(parent, name, file, owner)
            elif entry.type == HARD_LINK:
                real = made.get(posixpath.normpath(os.fsdecode(entry.linkname).lstrip("/")))
                if real is None:
                    raise reader.error("a hard link to what is not in the archive before it")
                target.link(parent, name, real)
                made[path] = real
            else:
                with suppress(PermissionError):
                    made[path] = target.put(parent, name, file, owner, lambda out: _write(reader, out))


def _write(reader: TarReader, out: int) -> None:
    with os.fdopen(out, "wb", closefd=False, buffering=0) as file:
        while data := reader.read(1 << 20):
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]


class _Content(io.RawIOBase):
    """A source file as a stream."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._offset = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.tree.read_at(self._source.found, self._offset, len(buffer))
        buffer[: len(data)] = data
        self._offset += len(data)
        return len(data)
