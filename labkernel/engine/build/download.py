"""ADD of a URL: the remote file, fetched into a temporary file."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

from labkernel.engine.build.copying import Source
from labkernel.engine.build.sources import File, Found, metadata_hash, transfer
from labkernel.engine.errors import InvalidParameter, Unavailable

_CHUNK = 1 << 18
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_TIMEOUT = 60.0  # seconds without a byte


def is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def download(
    url: str,
    destination: str,
    directory: Path,
    progress: Callable[[int, int], None],
    *,
    checksum: str = "",
    may_unpack: bool = False,
) -> Source:
    """Fetch a URL; `progress` hears of bytes done and expected (0 if unknown). A `checksum` is a digest that
    the content has to have.

    The file is root's with mode 600, as Docker has it, its time the server's Last-Modified. Its name comes
    from the URL or from the server. Raises InvalidParameter, Unavailable.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "labkernel"})
    path = directory / "download"
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer, path.open("wb") as out:
            name = _name(url, answer.headers.get_filename())
            expected = int(answer.headers.get("Content-Length") or 0)
            done = 0
            while data := answer.read(_CHUNK):
                out.write(data)
                done += len(data)
                progress(done, expected)
            modified = answer.headers.get("Last-Modified")
    except urllib.error.HTTPError as error:
        raise InvalidParameter(
            f"ADD failed: failed to GET {url} with status {error.code} {error.reason}: "
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Unavailable(
            f'ADD failed: Get "{url}": {reason}', hint="the address has to be reachable from this machine"
        ) from None
    if expected and done < expected:
        raise Unavailable(f'ADD failed: Get "{url}": unexpected EOF')
    if not name:
        if destination.endswith("/"):
            raise InvalidParameter(
                f"ADD failed: cannot determine filename for source {url}",
                hint="give the destination a file name, not a folder",
            )
        name = "__unnamed__"
    if checksum:
        _verify(path, checksum)
    file = File(mode=0o600, size=done, mtime=_time(modified))
    tree = _Downloaded(path)
    found = Found(name, file, None)
    return Source(tree, found, name, "file:" + tree.digest(found), may_unpack)


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


def _name(url: str, suggested: str | None) -> str:
    path = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
    name = "" if path.endswith("/") else posixpath.basename(path)
    name = name or posixpath.basename(suggested or "")
    return "" if name in (".", "..") else name


def _time(text: str | None) -> int:
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 10**9 if text else 0
    except (ValueError, OverflowError):
        return 0


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
