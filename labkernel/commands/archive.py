"""docker cp and docker export: files between a container and here."""

from __future__ import annotations

import base64
import copy
import json
import os
import posixpath
import stat
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from labkernel.commands.build_context import tree_tar
from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.errors import CommandError
from labkernel.commands.flags import switch, text
from labkernel.commands.http import call, chunks
from labkernel.commands.results import Result, Text
from labkernel.commands.units import human_size

if TYPE_CHECKING:
    from docker import DockerClient

_SYMLINK = 1 << 27
_DIRECTORY = 1 << 31
"""Bits of Go's os.FileMode, which the API's path stat uses."""


class PieceReader:
    """A file object over an iterator of bytes, for tarfile."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        parts, left = [], size if size >= 0 else sys.maxsize
        while left and (self._rest or (piece := next(self._pieces, b""))):
            rest = self._rest or memoryview(piece)
            parts.append(rest[:left])
            self._rest = rest[left:]
            left -= len(parts[-1])
        data = b"".join(parts)
        self.count += len(data)
        return data


def split_container_path(word: str) -> tuple[str | None, str]:
    """ "web:/etc/hosts" -> ("web", "/etc/hosts"); a path here, or "-", has no container."""
    if word.startswith(("/", ".", "~")) or word == "-" or ":" not in word:
        return None, word
    container, _, path = word.partition(":")
    return container, path


def cp(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    source, target = (split_container_path(word) for word in invocation.arguments)
    if source[0] and target[0]:
        raise CommandError(
            "copying between containers is not supported", hint="copy it here first, then into the other one"
        )
    if source[0]:
        return _from_container(client, source[0], source[1], target[1], invocation, console)
    if target[0]:
        return _to_container(client, source[1], target[0], target[1], invocation, console)
    raise CommandError(
        "must specify at least one container source", hint="write the container's side as NAME:/path"
    )


def path_stat(client: DockerClient, container: str, path: str) -> dict[str, Any] | None:
    """{name, size, mode, mtime, linkTarget} of a path in the container, None when there is no such path.

    Raises docker.errors.NotFound when there is no such container.
    """
    from docker.errors import NotFound

    try:
        answer = call(client, "HEAD", f"/containers/{quote(container)}/archive", params={"path": path})
    except NotFound:
        client.api.inspect_container(container)  # says which of the two is missing
        return None
    header = answer.headers["X-Docker-Container-Path-Stat"]
    found: dict[str, Any] = json.loads(base64.b64decode(header))
    return found


def _from_container(
    client: DockerClient, container: str, path: str, target: str, invocation: Invocation, console: Console
) -> Result:
    found = path_stat(client, container, path)
    if found and found["mode"] & _SYMLINK and invocation.options["follow-link"] and found["linkTarget"]:
        path = posixpath.join(posixpath.dirname(path), found["linkTarget"])
        found = path_stat(client, container, path)
    if found is None:
        raise CommandError(
            f"Error response from daemon: Could not find the file {path} in container {container}",
            hint=f"docker exec {container} ls {posixpath.dirname(path) or '/'} shows what is there",
        )
    to_output = target == "-"
    directory, name = Path(), ""
    if not to_output:  # before the archive is asked for: dockerd holds the container until it is read
        is_directory = bool(found["mode"] & _DIRECTORY)
        directory, name = _local_place(path, Path(target).expanduser(), is_directory=is_directory)
    response = call(
        client, "GET", f"/containers/{quote(container)}/archive", params={"path": path}, stream=True
    )
    try:
        if to_output:
            for piece in chunks(response):
                console.write(piece)
            return Text()
        reader = PieceReader(chunks(response))
        keep_owner = invocation.options["archive"]
        unpack(reader, directory, rename=(found["name"], name), keep_owner=keep_owner)
    finally:
        response.close()
    return _copied(reader.count, target, invocation, console)


def _local_place(path: str, target: Path, *, is_directory: bool) -> tuple[Path, str]:
    """(directory to unpack in, name of the copy); the name is "" for the content of a directory alone."""
    content_only = path.endswith("/.") or path == "."
    base = posixpath.basename(path.rstrip("/")) or "root"
    if target.is_dir():
        return target, "" if content_only else base
    if is_directory and target.exists():
        raise CommandError(f"cannot copy a directory to a file: {target}")
    if not target.parent.is_dir():
        raise CommandError(
            f'invalid output path: directory "{target.parent}" does not exist',
            hint=f"mkdir -p {target.parent}",
        )
    return target.parent, target.name


def unpack(reader: PieceReader, directory: Path, *, rename: tuple[str, str], keep_owner: bool) -> None:
    """Unpack a container's tar, its first directory renamed. What would be written outside is refused."""
    old, new = rename

    def renamed(path: str) -> str:
        path = posixpath.normpath(path).lstrip("/")
        first, _, below = path.partition("/")
        if old in {".", "/"}:  # the content of a directory, with or without "./" before its names
            below = "" if path == "." else path
        elif first != old:
            return path
        return posixpath.join(new, below).rstrip("/")

    # tarfile's own filters came with Python 3.11.4; Debian 12 has 3.11.2.
    def members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        for original in archive:
            name = renamed(original.name)
            if not name or original.isdev():  # device nodes of a container have no business here
                continue
            member = copy.copy(original)
            member.name = name
            _check_inside(directory, name)
            if member.islnk():
                member.linkname = renamed(member.linkname)
                _check_inside(directory, member.linkname)
            member.mode = stat.S_IMODE(member.mode or 0)
            if not keep_owner:
                member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
            yield member

    try:
        with tarfile.open(fileobj=_as_file(reader), mode="r|") as archive:
            # What is unpacked is decided above; from Python 3.14 on tarfile would change modes on its own.
            archive.extraction_filter = lambda member, path: member
            archive.extractall(directory, members=members(archive), numeric_owner=True)
    except tarfile.TarError as error:
        raise CommandError(f"the container's archive is not safe to unpack: {error}") from None


def _check_inside(directory: Path, name: str) -> None:
    """Raises CommandError where a name, or a link unpacked before it, leads out of the directory."""
    top = os.path.realpath(directory)
    if not Path(os.path.realpath(os.path.join(top, name))).is_relative_to(top):
        raise CommandError(
            f"the container's archive is not safe to unpack: {name} would be outside the destination"
        )


def _as_file(reader: PieceReader) -> IO[bytes]:
    file: Any = reader  # tarfile's stream mode only reads
    return file  # type: ignore[no-any-return]


def _to_container(
    client: DockerClient, source: str, container: str, path: str, invocation: Invocation, console: Console
) -> Result:
    found = path_stat(client, container, path)
    if found and found["mode"] & _SYMLINK and found["linkTarget"]:
        path = posixpath.join(posixpath.dirname(path), found["linkTarget"])
        found = path_stat(client, container, path)
    into_directory = bool(found and found["mode"] & _DIRECTORY)
    if source == "-":
        if not into_directory:
            raise CommandError(f'destination "{container}:{path}" must be a directory')
        if console.stdin is None:
            raise CommandError("there is no standard input here")
        stdin = console.stdin
        tar = iter(lambda: stdin.read(1 << 20), b"")
        _put(client, container, path, tar, keep_owner=invocation.options["archive"])
        return Text()
    local = Path(source).expanduser()
    if not local.exists() and not local.is_symlink():
        raise CommandError(f"lstat {local.absolute()}: no such file or directory")
    if invocation.options["follow-link"]:
        local = local.resolve()
    if into_directory:
        directory, name = path, "" if source.endswith("/.") or source == "." else local.absolute().name
    elif path.endswith("/"):
        raise CommandError(f'no such directory in container {container}: "{path}"')
    else:
        directory, name = posixpath.dirname(path) or "/", posixpath.basename(path)
        if found and local.is_dir():
            raise CommandError("cannot copy directory", why=f"{path} is a file in {container}")
    sent = 0

    def counted() -> Iterator[bytes]:
        nonlocal sent
        for piece in tree_tar(local, name):
            sent += len(piece)
            yield piece

    _put(client, container, directory, counted(), keep_owner=invocation.options["archive"])
    return _copied(sent, f"{container}:{invocation.arguments[1].partition(':')[2]}", invocation, console)


def _put(client: DockerClient, container: str, path: str, tar: Iterable[bytes], *, keep_owner: bool) -> None:
    params = {"path": path, "noOverwriteDirNonDir": "true", **({"copyUIDGID": "true"} if keep_owner else {})}
    call(client, "PUT", f"/containers/{quote(container)}/archive", params=params, data=tar)


def _copied(count: int, target: str, invocation: Invocation, console: Console) -> Result:
    if not invocation.options["quiet"] and (console.terminal or console.stdin is None):
        console.write_error(f"Successfully copied {human_size(count, precision=3)} to {target}\n".encode())
    return Text()


def output_to(pieces: Iterable[bytes], name: str | None, console: Console, verb: str) -> None:
    """Write to the file `name`, or to standard output unless that is a terminal or a notebook.

    A file appears only when it is complete.
    """
    if not name:
        if console.stdin is None or sys.stdout.isatty():
            raise CommandError(f"cowardly refusing to {verb} to a terminal. Use the -o flag or redirect")
        for piece in pieces:
            console.write(piece)
        return
    target = Path(name).expanduser()
    if not target.parent.is_dir():
        raise CommandError(
            f'invalid output path: directory "{target.parent}" does not exist',
            hint=f"mkdir -p {target.parent}",
        )
    if target.exists() and not target.is_file():  # a pipe, or /dev/null
        with target.open("wb") as file:
            file.writelines(pieces)
        return
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.writelines(pieces)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def export(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    name = invocation.arguments[0]
    response = call(client, "GET", f"/containers/{quote(name)}/export", stream=True)
    output_to(chunks(response), invocation.options["output"], console, "export")
    return Text()


CP = Command(
    "cp",
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-  or  SRC_PATH|- CONTAINER:DEST_PATH",
    "Copy files between a container and here",
    cp,
    (
        switch("archive", "a", "Keep owners"),
        switch("follow-link", "L", "Copy what a link points to"),
        switch("quiet", "q", "Say nothing"),
    ),
    (2, 2),
)
EXPORT = Command(
    "export",
    "[OPTIONS] CONTAINER",
    "Write a container's file system as a tar",
    export,
    (text("output", "o", "Write to this file"),),
    (1, 1),
)
