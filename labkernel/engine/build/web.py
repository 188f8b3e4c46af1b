"""A file from the web, for ADD of a URL and for a build whose context is one."""

from __future__ import annotations

import asyncio
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path

from labkernel.engine.build.interface import Output
from labkernel.engine.build.threads import stop_if_cancelled
from labkernel.engine.errors import (
    EngineError,
    Forbidden,
    InvalidParameter,
    NotFound,
    System,
    Unauthorized,
    Unavailable,
)

_CHUNK = 1 << 18
_HEAD = 512  # bytes that `Check` sees at least, if there are as many
_TIMEOUT = 60.0  # seconds without a byte
_SHOWN = 500  # characters of what a server says about an error

_KINDS: Mapping[int, type[EngineError]] = {
    HTTPStatus.BAD_REQUEST: InvalidParameter,
    HTTPStatus.UNAUTHORIZED: Unauthorized,
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
}

#: Hears of bytes done and expected (0 if unknown).
Progress = Callable[[int, int], None]

#: Sees the Content-Type and the first bytes ahead of all; what it raises ends the transfer too.
Check = Callable[[str, bytes], None]


@dataclass(frozen=True)
class Fetched:
    """What a server sent with a file. `type` is its Content-Type, `name` the file name that it suggests, both
    "" if it says none; `modified` is in nanoseconds."""

    size: int
    type: str
    name: str
    modified: int


def reporter(output: Output, status: str, **more: str) -> Progress:
    """Tells of a transfer, which goes on in a thread, in the API's messages; to be called from the loop."""
    loop = asyncio.get_running_loop()

    def report(done: int, expected: int) -> None:
        detail = {"current": done, **({"total": expected} if expected else {})}
        loop.call_soon_threadsafe(output, {"status": status, "progressDetail": detail, **more})

    return report


def fetch(url: str, path: Path, progress: Progress, check: Check | None = None) -> Fetched:
    """Write what is at a URL to a file. Raises EngineError of the answer's kind, Unavailable without one, and
    what `check` raises."""
    done = 0
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "labkernel"})
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer, path.open("wb") as out:
            headers = answer.headers
            kind, expected = headers.get("Content-Type") or "", int(headers.get("Content-Length") or 0)
            data = b""
            while len(data) < _HEAD and (more := answer.read1(_CHUNK)):
                data += more
            if check is not None:
                check(kind, data)
            while data:
                out.write(data)
                done += len(data)
                progress(done, expected)
                stop_if_cancelled()
                data = answer.read1(_CHUNK)  # what is there: a slow server can be left at any time
    except urllib.error.HTTPError as error:
        said = error.read(_SHOWN).decode("utf-8", "replace").strip()
        refusal = _KINDS.get(error.code, System)
        raise refusal(f"failed to GET {url} with status {error.code} {error.reason}: {said}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise Unavailable(
            f'Get "{url}": {reason}', hint="the address has to be reachable from this machine"
        ) from None
    if expected and done < expected:
        raise Unavailable(f'Get "{url}": unexpected EOF')
    return Fetched(done, kind, headers.get_filename() or "", _time(headers.get("Last-Modified")))


def _time(text: str | None) -> int:
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 10**9 if text else 0
    except (ValueError, OverflowError):
        return 0
