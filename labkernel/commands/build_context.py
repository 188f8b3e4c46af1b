"""Local files as a tar stream: the context of a build, and what `docker cp` sends."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from labkernel.commands.dockerignore import DockerIgnore

_BLOCK = 1024 * 1024
_Read = Callable[[int], bytes]


def context_tar(
    directory: Path, ignore: DockerIgnore, *, extra: Mapping[str, bytes], keep: str
) -> Iterator[bytes]:
    """A tar of `directory` without what `ignore` leaves out, in blocks, never as a whole in memory or on
    disk.

    `extra` are files put in (or in place of one with the same name); `keep` is the Dockerfile, and stays in
    even when excluded, as do .dockerignore and its own: the engine needs them and removes them itself. Owners
    are 0:0, as every docker client sends them, so that the build cache does not depend on who builds. Raises
    OSError.
    """
    links: dict[tuple[int, int], str] = {}
    for name, path in _walk(directory, "", ignore, {keep, f"{keep}.dockerignore", ".dockerignore"}):
        if name not in extra:
            yield from _member(name, path, links)
    for name, data in sorted(extra.items()):
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o600
        yield from (info.tobuf(tarfile.PAX_FORMAT), data, _padding(len(data)))
    yield b"\0" * 1024


def ignore_file(directory: Path, dockerfile: str) -> Path:
    """The file that tells what a build of this Dockerfile (relative to the context) is not sent: its own, or
    the context's. It need not exist."""
    own = directory / f"{dockerfile}.dockerignore"
    return own if own.is_file() else directory / ".dockerignore"


def file_names(directory: Path, ignore: DockerIgnore) -> list[str]:
    """The names of the files that a COPY can see."""
    return [name for name, path in _walk(directory, "", ignore, set()) if not path.is_dir()]


def _walk(directory: Path, prefix: str, ignore: DockerIgnore, always: set[str]) -> Iterator[tuple[str, Path]]:
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        name = prefix + entry.name
        excluded = ignore.excludes(name) and name not in always
        if not excluded:
            yield name, Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            below = f"{name}/"
            if not excluded or ignore.may_keep_below(name) or any(kept.startswith(below) for kept in always):
                yield from _walk(Path(entry.path), below, ignore, always)


def tree_tar(path: Path, name: str) -> Iterator[bytes]:
    """A tar of the file or directory `path`, called `name` in it; "" for a directory's content alone."""
    links: dict[tuple[int, int], str] = {}
    if name:
        yield from _member(name, path, links, keep_owner=True)
    if path.is_dir() and (not name or not path.is_symlink()):
        for below, member in _walk(path, f"{name}/" if name else "", DockerIgnore(""), set()):
            yield from _member(below, member, links, keep_owner=True)
    yield b"\0" * 1024


def _member(
    name: str, path: Path, links: dict[tuple[int, int], str], *, keep_owner: bool = False
) -> Iterator[bytes]:
    found = path.lstat()
    info = tarfile.TarInfo(name)
    info.mode = stat.S_IMODE(found.st_mode)
    info.mtime = int(found.st_mtime)
    if keep_owner:
        info.uid, info.gid = found.st_uid, found.st_gid
    if stat.S_ISDIR(found.st_mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(found.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
    elif stat.S_ISFIFO(found.st_mode):
        info.type = tarfile.FIFOTYPE
    elif not stat.S_ISREG(found.st_mode):
        return  # sockets and devices have no place in a context
    elif found.st_nlink > 1 and (found.st_dev, found.st_ino) in links:
        info.type, info.linkname = tarfile.LNKTYPE, links[found.st_dev, found.st_ino]
    else:
        links[found.st_dev, found.st_ino] = name
        info.size = found.st_size
        with path.open("rb") as file:
            yield info.tobuf(tarfile.PAX_FORMAT)
            yield from _content(file.read, info.size, path)
        return
    yield info.tobuf(tarfile.PAX_FORMAT)


def _content(read: _Read, size: int, path: Path) -> Iterator[bytes]:
    """Exactly `size` bytes, whatever a writer does to the file meanwhile."""
    left = size
    while left:
        data = read(min(left, _BLOCK))
        if not data:
            raise OSError(None, "the file became shorter while it was sent", str(path))
        left -= len(data)
        yield data
    yield _padding(size)


def _padding(size: int) -> bytes:
    return b"\0" * (-size % 512)
