"""The files of an image as one tree: what `docker save` writes, its layers laid over each other.

Source: OCI image-spec layer.md (whiteouts); moby's image specification v1.2 (manifest.json).
"""

from __future__ import annotations

import json
import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, BinaryIO

from labkernel.commands.errors import CommandError

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


@dataclass(eq=False)
class ImageFile:
    """One name in the tree. `member` is its entry in the layer `layer`; for a further name of a file with
    hard links that of the first one, and so the same `identity`."""

    member: tarfile.TarInfo
    layer: tarfile.TarFile
    number: int = 0
    children: dict[str, ImageFile] = field(default_factory=dict)

    @property
    def identity(self) -> tuple[int, int]:
        return self.number, self.member.offset

    def content(self) -> IO[bytes]:
        found = self.layer.extractfile(self.member)
        assert found is not None, "only a regular file has content"
        return found


class ImageFiles:
    """Reads a `docker save` archive of one image from a file that can be sought in, which stays open."""

    def __init__(self, archive: BinaryIO) -> None:
        """Raises CommandError for what is no such archive."""
        self._outer = tarfile.open(fileobj=archive, mode="r:")  # noqa: SIM115  both are closed with the file
        manifest = self._outer.extractfile("manifest.json")
        assert manifest is not None, "every engine writes it"
        self.top = self._implied("")
        for number, name in enumerate(json.load(manifest)[0]["Layers"]):
            layer = tarfile.open(fileobj=self._outer.extractfile(name), mode="r:*")  # noqa: SIM115
            self._lay_over(layer, number)

    def directories(self) -> Iterator[tuple[str, ImageFile]]:
        """Each after the one that it is in, without the top."""
        yield from ((path, file) for path, file in _walk(self.top, "") if file.member.isdir())

    def others(self) -> Iterator[tuple[str, ImageFile]]:
        """All that is no directory, as it comes in the layers: that is the quick way to read them."""
        found = [(path, file) for path, file in _walk(self.top, "") if not file.member.isdir()]
        yield from sorted(found, key=lambda entry: entry[1].identity)

    def _lay_over(self, layer: tarfile.TarFile, number: int) -> None:
        new: set[ImageFile] = set()
        for member in layer:
            path = posixpath.normpath(member.name).lstrip("/")
            if path in (".", ""):
                continue
            above, _, name = path.rpartition("/")
            parent = None if path.split("/")[0] == ".." else self._directory(above)
            if parent is None:
                raise CommandError(f"the image is not safe to unpack: {member.name} is in no directory of it")
            if name == _OPAQUE:
                parent.children = {key: file for key, file in parent.children.items() if file in new}
            elif name.startswith(_WHITEOUT):
                below = parent.children.get(name.removeprefix(_WHITEOUT))
                if below is not None and below not in new:
                    del parent.children[name.removeprefix(_WHITEOUT)]
            else:
                file = self._file(member, layer, number)
                old = parent.children.get(name)
                if old is not None and old.member.isdir() and member.isdir():
                    file.children = old.children
                parent.children[name] = file
                new.add(file)

    def _file(self, member: tarfile.TarInfo, layer: tarfile.TarFile, number: int) -> ImageFile:
        if not member.islnk():
            return ImageFile(member, layer, number)
        first = self._find(posixpath.normpath(member.linkname).lstrip("/"))
        if first is None or first.member.isdir():
            raise CommandError(f"the image is not safe to unpack: {member.name} links to what is not in it")
        return ImageFile(first.member, first.layer, first.number)

    def _implied(self, name: str) -> ImageFile:
        """A directory that the archive does not name."""
        member = tarfile.TarInfo(name)
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        return ImageFile(member, self._outer)

    def _directory(self, path: str) -> ImageFile | None:
        """The directory at a path, made with those above it where it is missing; None if one is something
        else."""
        directory = self.top
        for part in path.split("/") if path else ():
            directory = directory.children.setdefault(part, self._implied(part))
            if not directory.member.isdir():
                return None
        return directory

    def _find(self, path: str) -> ImageFile | None:
        file: ImageFile | None = self.top
        for part in path.split("/") if path else ():
            file = file.children.get(part) if file is not None else None
        return file


def _walk(directory: ImageFile, path: str) -> Iterator[tuple[str, ImageFile]]:
    pending = [(path, directory)]
    while pending:
        above, directory = pending.pop()
        for name, file in sorted(directory.children.items()):
            below = f"{above}/{name}" if above else name
            yield below, file
            if file.member.isdir():
                pending.append((below, file))
