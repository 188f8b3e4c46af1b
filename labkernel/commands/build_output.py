"""`docker build --output`: what was built, as files of this machine.

The engines' builders make images; the files come out of the archive that `docker save` gives, on every engine
alike. Source: docs.docker.com/build/exporters.
"""

from __future__ import annotations

import copy
import csv
import errno
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from labkernel.commands.archive import output_to
from labkernel.commands.console import Console
from labkernel.commands.errors import CommandError, nearest
from labkernel.commands.http import call, chunks
from labkernel.commands.image_files import ImageFile, ImageFiles

if TYPE_CHECKING:
    from docker import DockerClient

_EXAMPLE = "-o DIRECTORY, or -o type=local|tar|oci|docker,dest=PATH"
_CHUNK = 1 << 20
_BELOW = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Output:
    """`destination` is a path, or "-" for standard output."""

    type: str
    destination: str

    @property
    def is_stdout(self) -> bool:
        return self.destination == "-"


def parse_output(text: str) -> Output:
    """The value of --output. Raises CommandError."""
    fields = next(csv.reader([text]), [])
    if len(fields) == 1 and "=" not in text:
        return Output("tar" if text == "-" else "local", text)
    given: dict[str, str] = {}
    for one in fields:
        key, equals, value = one.partition("=")
        if not equals:
            raise CommandError(f"invalid value {one}", hint=_EXAMPLE)
        given[key.strip().lower()] = value
    kind, destination = given.pop("type", ""), given.pop("dest", "")
    if not kind:
        raise CommandError("type is required for output", hint=_EXAMPLE)
    if kind in ("image", "registry"):
        raise CommandError(
            f"output type {kind} is not offered",
            hint="-t NAME names the image" + ("; docker push NAME sends it" if kind == "registry" else ""),
        )
    if kind not in ("local", "tar", "oci", "docker"):
        raise CommandError(f"unknown output type {kind}", hint=nearest(kind, _EXAMPLE.split()) or _EXAMPLE)
    if given:
        raise CommandError(f"unknown option {next(iter(given))} of output type {kind}", hint=_EXAMPLE)
    if kind == "local" and destination in ("", "-"):
        raise CommandError("dest is required for local output", hint=_EXAMPLE)
    return Output(kind, destination or "-")


def write_outputs(
    client: DockerClient, image: str, tags: Sequence[str], outputs: Sequence[Output], console: Console
) -> None:
    """Write an image. Raises CommandError, OSError."""
    for output in outputs:
        path = None if output.is_stdout else output.destination
        if output.type in ("docker", "oci"):
            pieces = _saved(client, tags or [image])
            output_to(_checked_oci(pieces) if output.type == "oci" else pieces, path, console, "export")
            continue
        with _archive(client, image) as archive:
            files = ImageFiles(archive)
            if output.type == "tar":
                output_to(_tar(files), path, console, "export")
            else:
                _write_directory(files, Path(output.destination).expanduser())


def _saved(client: DockerClient, names: Sequence[str]) -> Iterator[bytes]:
    return chunks(call(client, "GET", "/images/get", params={"names": list(names)}, stream=True))


@contextmanager
def _archive(client: DockerClient, image: str) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as archive:
        archive.writelines(_saved(client, [image]))
        archive.seek(0)
        yield archive


def _checked_oci(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """An archive, which has to be an OCI one too: Docker's are since version 25, and ours are."""
    with tempfile.TemporaryFile() as archive:
        archive.writelines(pieces)
        archive.seek(0)
        with tarfile.open(fileobj=archive, mode="r:") as tar:
            if "oci-layout" not in tar.getnames():
                raise CommandError(
                    "output type oci: this engine saves no OCI archives",
                    hint="type=docker, or a newer engine",
                )
        archive.seek(0)
        yield from iter(lambda: archive.read(_CHUNK), b"")


def _tar(files: ImageFiles) -> Iterator[bytes]:
    """A tar of the files, owners and modes as in the image."""
    out = _Pieces()
    first: dict[tuple[int, int], str] = {}
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        for path, file in (*files.directories(), *files.others()):
            member = copy.copy(file.member)
            member.name = path
            # Names and sizes are written anew; what a file has beside them is kept.
            member.pax_headers = {
                key: value for key, value in member.pax_headers.items() if key.startswith("SCHILY.xattr.")
            }
            if member.isreg() and file.identity in first:
                member.type, member.linkname, member.size = tarfile.LNKTYPE, first[file.identity], 0
            if member.isreg():
                first[file.identity] = path
                tar.addfile(member, file.content())
            else:
                tar.addfile(member)
            yield from out.taken()
    yield from out.taken()


class _Pieces:
    """What tarfile writes, until it is taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(data)
        return len(data)

    def taken(self) -> list[bytes]:
        pieces, self._pieces = self._pieces, []
        return pieces


def _write_directory(files: ImageFiles, top: Path) -> None:
    """Write the files below a directory, as one's own.

    No link is followed there, be it one of the image's or one that was there before: so nothing outside of
    the directory is touched. Devices are left out, and nobody gets another's rights (set-user-ID). Raises
    CommandError."""
    top.mkdir(parents=True, exist_ok=True)
    root = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    first: dict[tuple[int, int], str] = {}
    made: list[tuple[str, ImageFile]] = []
    try:
        for path, file in files.directories():
            with _parent(root, path, top) as (parent, name):
                try:
                    os.mkdir(name, dir_fd=parent)
                    made.append((path, file))
                except FileExistsError:
                    os.close(_open_below(parent, name, top / path))
        for path, file in files.others():
            with _parent(root, path, top) as (parent, name):
                if file.identity in first:
                    _remove(parent, name)
                    with _parent(root, first[file.identity], top) as (other, other_name):
                        os.link(other_name, name, src_dir_fd=other, dst_dir_fd=parent, follow_symlinks=False)
                elif file.member.issym():
                    _remove(parent, name)
                    os.symlink(file.member.linkname, name, dir_fd=parent)
                elif file.member.isreg():
                    _remove(parent, name)
                    _write_file(file, parent, name)
                    first[file.identity] = path
        for path, file in reversed(made):
            directory = _walk_to(root, path, top)
            _finish(directory, file)
            os.close(directory)
    except OSError as error:
        raise CommandError(f"cannot write to {top}: {(error.strerror or '').lower()}") from None
    finally:
        os.close(root)


def _write_file(file: ImageFile, parent: int, name: str) -> None:
    with os.fdopen(os.open(name, _NEW, 0o600, dir_fd=parent), "wb") as out, file.content() as content:
        while data := content.read(_CHUNK):
            out.write(data)
        out.flush()
        _finish(out.fileno(), file)


def _finish(descriptor: int, file: ImageFile) -> None:
    os.fchmod(descriptor, stat.S_IMODE(file.member.mode) & 0o777)
    os.utime(descriptor, (file.member.mtime, file.member.mtime))


def _remove(parent: int, name: str) -> None:
    """Make room for a file; a directory in its place is not ours to remove."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return


@contextmanager
def _parent(root: int, path: str, top: Path) -> Iterator[tuple[int, str]]:
    above, _, name = path.rpartition("/")
    directory = _walk_to(root, above, top)
    try:
        yield directory, name
    finally:
        os.close(directory)


def _walk_to(root: int, path: str, top: Path) -> int:
    directory = os.dup(root)
    for part in path.split("/") if path else ():
        try:
            below = _open_below(directory, part, top / path)
        finally:
            os.close(directory)
        directory = below
    return directory


def _open_below(parent: int, name: str, shown: Path) -> int:
    try:
        return os.open(name, _BELOW, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise CommandError(
            f"cannot write below {shown}: {name} is a file or a symbolic link there",
            hint="name a directory that is empty or new",
        ) from None
