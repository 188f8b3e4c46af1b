"""ADD of a URL: the remote file, fetched into a temporary file."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from labkernel.engine.build.copying import Source
from labkernel.engine.build.located import prefixed
from labkernel.engine.build.sources import File, Found, metadata_hash, transfer
from labkernel.engine.build.threads import in_thread
from labkernel.engine.build.web import Progress, fetch
from labkernel.engine.errors import InvalidParameter

_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


def is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


async def download(
    url: str,
    destination: str,
    directory: Path,
    progress: Progress,
    *,
    checksum: str = "",
    may_unpack: bool = False,
) -> Source:
    """Fetch a URL; `progress` hears of bytes done and expected (0 if unknown). A `checksum` is a digest that
    the content has to have.

    The file is root's with mode 600, as Docker has it, its time the server's Last-Modified. Its name comes
    from the URL or from the server. Cancelled, it ends the transfer first. Raises EngineError.
    """
    path = directory / "download"
    with prefixed("ADD failed"):
        fetched = await in_thread(fetch, url, path, progress)
    name = _name(url, fetched.name)
    if not name:
        if destination.endswith("/"):
            raise InvalidParameter(
                f"ADD failed: cannot determine filename for source {url}",
                hint="give the destination a file name, not a folder",
            )
        name = "__unnamed__"
    if checksum:
        await in_thread(_verify, path, checksum)
    file = File(mode=0o600, size=fetched.size, mtime=fetched.modified)
    tree = _Downloaded(path)
    found = Found(name, file, None)
    return Source(tree, found, name, await in_thread(tree.digest, found), may_unpack)


def check_checksum(text: str) -> None:
    """Raises InvalidParameter if a text is no digest that can be compared."""
    if not re.fullmatch(r"[a-z0-9]+:[0-9a-fA-F]+", text):
        raise InvalidParameter(
            f"invalid checksum digest format: {text}", hint="sha256: and 64 hexadecimal digits"
        )
    algorithm, _, digits = text.partition(":")
    if algorithm not in _DIGEST_LENGTHS:
        raise InvalidParameter(f"unsupported digest algorithm: {algorithm}", hint="sha256 is usual")
    if len(digits) != _DIGEST_LENGTHS[algorithm]:
        raise InvalidParameter(
            f"invalid checksum digest length: {text}",
            hint=f"{algorithm} has {_DIGEST_LENGTHS[algorithm]} digits",
        )


def _verify(path: Path, checksum: str) -> None:
    algorithm, _, digits = checksum.partition(":")
    with path.open("rb") as content:
        actual = hashlib.file_digest(content, algorithm).hexdigest()
    if actual != digits.lower():
        raise InvalidParameter(
            f"ADD failed: digest mismatch {algorithm}:{actual}: {checksum}",
            hint="the file at this address is not the one that the checksum was taken of",
        )


def _name(url: str, suggested: str) -> str:
    path = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
    name = "" if path.endswith("/") else posixpath.basename(path)
    name = name or posixpath.basename(suggested)
    return "" if name in (".", "..") else name


class _Downloaded:
    """A tree of one file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, path: str) -> Found | None:
        return None

    def children(self, directory: Found) -> Iterator[Found]:
        return iter(())

    def digest(self, found: Found) -> str:
        digest = metadata_hash(found.path, found.file)
        with self._path.open("rb", buffering=0) as content:
            while data := content.read(1 << 20):
                digest.update(data)
        text: str = digest.hexdigest()
        return text

    def copy_content(self, found: Found, out: int) -> None:
        source = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            transfer(source, 0, found.file.size, out)
        finally:
            os.close(source)

    def read_at(self, found: Found, offset: int, size: int) -> bytes:
        with self._path.open("rb") as content:
            content.seek(offset)
            return content.read(size)
