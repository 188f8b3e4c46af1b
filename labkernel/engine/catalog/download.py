"""Fetching by HTTP: with retries, through the machine's proxies, resuming files that are there in part."""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from labkernel.engine.catalog.apt_conf import AptConf
from labkernel.engine.errors import Unavailable

_CHUNK = 1 << 18
_TIMEOUT = (10, 30)  # seconds to connect, and without a byte
HINT = (
    "check this machine's network and proxy settings; what was downloaded is kept and is continued next time"
)


class Missing(Exception):
    """The server says that there is no such file (404)."""


class Downloader:
    """An HTTP session for the threads of one making. Errors are Unavailable, naming the host, and Missing."""

    def __init__(self, conf: AptConf) -> None:
        retry = Retry(
            total=4,
            connect=2,
            backoff_factor=0.5,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=("GET",),
        )
        self._session = requests.Session()
        for scheme in ("http", "https"):
            self._session.mount(f"{scheme}://", HTTPAdapter(max_retries=retry, pool_maxsize=8))
        # .deb files must arrive as they are, and a transfer in part has no use for a compressed rest.
        self._session.headers["Accept-Encoding"] = "identity"
        self._conf = conf
        # requests trusts certifi's list of authorities unless told otherwise; apt and this machine trust
        # their own.
        self._authorities = (
            conf.get("Acquire::https::CAInfo")
            or os.environ.get("REQUESTS_CA_BUNDLE")
            or ssl.get_default_verify_paths().cafile
        )

    def close(self) -> None:
        self._session.close()

    def read(self, url: str, limit: int) -> bytes:
        """A small file, at most `limit` bytes."""
        data = bytearray()
        with self._request(url, {}) as response:
            for chunk in self._chunks(response, url):
                data += chunk
                if len(data) > limit:
                    raise Unavailable(f"{_shown(url)} is larger than it may be ({limit} bytes)")
        return bytes(data)

    def fetch(self, url: str, file: Path, sha256: str, size: int, arrived: Callable[[int], None]) -> None:
        """Makes `file` hold the `size` bytes with this digest; `file`.part keeps what has arrived until it
        is whole.

        `arrived` is told of the bytes as they come, also of those that were there already.
        """
        if file.exists() and file.stat().st_size == size and _digest(file) == sha256:
            os.utime(file)  # it is of use: see Catalog on what is not
            arrived(size)
            return
        part = file.with_name(file.name + ".part")
        counted = 0
        for attempt in range(5):
            offset = part.stat().st_size if part.exists() else 0
            if offset > size:
                part.unlink()
                offset = 0
            if offset > counted:
                arrived(offset - counted)
                counted = offset
            try:
                for length in self._append(url, part, offset, size):
                    if length > counted:
                        arrived(length - counted)
                        counted = length
            except Unavailable:
                # A connection that breaks in the body is no case for Retry: go on from where it broke.
                if attempt == 4 or not part.exists() or part.stat().st_size <= offset:
                    raise
                continue
            if part.stat().st_size == size and _digest(part) == sha256:
                os.replace(part, file)
                return
            part.unlink()
            if offset == 0:
                break
        raise Unavailable(
            f"{_shown(url)} is not what the archive's signed index says (size or SHA256 differ)",
            hint="the archive may be changing just now, or a proxy answers with something else: try again",
        )

    def _append(self, url: str, part: Path, offset: int, size: int) -> Any:
        """Writes the rest of a file to `part`; yields the length it has then."""
        if offset == size:
            return
        with self._request(url, {"Range": f"bytes={offset}-"} if offset else {}) as response:
            if response.status_code != 206:
                offset = 0  # a server that ignores Range sends all of it
            with part.open("r+b" if offset else "wb") as out:
                out.seek(offset)
                for chunk in self._chunks(response, url):
                    out.write(chunk)
                    offset += len(chunk)
                    if offset > size:
                        break
                    yield offset

    def _request(self, url: str, headers: dict[str, str]) -> requests.Response:
        try:
            response = self._session.get(
                url,
                headers=headers,
                stream=True,
                timeout=_TIMEOUT,
                proxies=self._proxies(url),
                verify=self._authorities or True,
            )
        except (requests.RequestException, ValueError) as error:
            raise _unavailable(url, error) from error
        if response.status_code in (404, 410):
            response.close()
            raise Missing(_shown(url))
        if response.status_code == 416:  # the part is not shorter than the file: the digest will tell
            return response
        if response.status_code not in (200, 206):
            response.close()
            answer = f"{response.status_code} {response.reason}"
            raise Unavailable(f"{urlsplit(url).hostname} answers {answer} for {_shown(url)}", hint=HINT)
        return response

    def _chunks(self, response: requests.Response, url: str) -> Any:
        if response.status_code == 416:
            return
        try:
            yield from response.iter_content(_CHUNK)
        except (requests.RequestException, OSError) as error:
            raise _unavailable(url, error) from error

    def _proxies(self, url: str) -> dict[str, str] | None:
        """apt's own proxy for this host, as apt.conf(5) has it; None leaves it to the environment."""
        parts = urlsplit(url)
        option = f"Acquire::{parts.scheme}::Proxy"
        proxy = self._conf.get(f"{option}::{parts.hostname}") or self._conf.get(option)
        if not proxy:
            return None
        # An empty address is how requests is told to go there directly.
        return {parts.scheme: "" if proxy.upper() == "DIRECT" else proxy}


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _unavailable(url: str, error: Exception) -> Unavailable:
    return Unavailable(f"cannot reach the archive at {urlsplit(url).hostname}: {_reason(error)}", hint=HINT)


def _reason(error: BaseException) -> str:
    """What the kernel or the resolver said, from below requests' and urllib3's wrappings."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError) and below.strerror:
            return below.strerror
        below = below.__cause__ or below.__context__
    return "no answer in time" if isinstance(error, requests.Timeout) else str(error)
