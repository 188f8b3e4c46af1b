"""Blobs: files known by the digest of their bytes (image-spec, image-layout.md: `blobs/sha256/<hex>`)."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from labkernel.engine.distribution.manifests import Descriptor
from labkernel.engine.errors import NotFound

__all__ = ["Blobs", "Descriptor"]


class Blobs:
    """The directory `blobs/sha256`. What is in it has been checked against its name before it got there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, digest: str) -> Path:
        return self.directory / digest.removeprefix("sha256:")

    def has(self, digest: str) -> bool:
        return self.path(digest).is_file()

    def open(self, digest: str) -> BinaryIO:
        """Raises NotFound."""
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise NotFound(f"blob {digest} is not stored") from None

    def keep(self, file: Path, digest: str) -> None:
        """Take a file on the same file system, whose digest the caller has checked. Its old name stays."""
        with suppress(FileExistsError):
            os.link(file, self.path(digest))

    def remove(self, digest: str) -> None:
        self.path(digest).unlink(missing_ok=True)

    def digests(self) -> list[str]:
        return ["sha256:" + name for name in os.listdir(self.directory)]
