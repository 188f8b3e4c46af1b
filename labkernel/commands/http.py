"""Calls to the Engine API that docker-py has no method for, or whose method hides what a command needs.

docker-py's own methods drop which of stdout and stderr a chunk belongs to, and lose output that arrives
together with the response's headers when a connection is hijacked.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from labkernel.commands.tls import TlsStream

if TYPE_CHECKING:
    import requests
    from docker import DockerClient


def call(
    client: DockerClient,
    method: str,
    path: str,
    *,
    params: Mapping[str, Any] | None = None,
    body: Any = None,
    data: Iterable[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
    stream: bool = False,
    versioned: bool = True,
) -> requests.Response:
    """One request, such as `call(client, "GET", "/containers/web/top")`; `body` is sent as JSON, `data`
    (a tar, mostly) as it comes.

    Raises docker.errors.APIError (NotFound and so on) for the API's errors.
    """
    import requests
    from docker.errors import create_api_error_from_http_exception

    sent = {
        key: json.dumps(value) if isinstance(value, dict) else value for key, value in (params or {}).items()
    }
    prefix = f"/v{client.api.api_version}" if versioned else ""
    content_type: dict[str, str] = {}
    if body is not None or data is not None:
        content_type = {"Content-Type": "application/x-tar" if body is None else "application/json"}
    response = client.api.request(
        method,
        f"{client.api.base_url}{prefix}{path}",
        params=sent,
        data=data if body is None else json.dumps(body),
        headers={**content_type, **(headers or {})},
        stream=stream,
    )
    try:
        response.raise_for_status()
    except requests.HTTPError as error:
        raise create_api_error_from_http_exception(error) from None
    return response


def chunks(response: requests.Response) -> Iterator[bytes]:
    """The body of a streamed response as it arrives; the connection is closed at the end."""
    try:
        yield from response.iter_content(None)
    finally:
        response.close()


def cancel(response: requests.Response) -> None:
    """Make another thread's read of a streamed response end now, as if the engine had ended it."""
    from docker.types import CancellableStream

    with contextlib.suppress(Exception):  # it may have ended by itself
        CancellableStream(iter(()), response).close()


def messages(response: requests.Response) -> Iterator[dict[str, Any]]:
    """The JSON objects of a streamed response, one a line, as pull, build and events send them."""
    rest = b""
    for chunk in chunks(response):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)
    if rest.strip():
        yield json.loads(rest)


class Demultiplexer:
    """Takes framed output apart: each frame has 8 bytes of header (stream, 000, length), then the data."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(1, bytes) for stdout and (2, bytes) for stderr, for every frame that is complete now."""
        self._pending += data
        while len(self._pending) >= 8:
            length = int.from_bytes(self._pending[4:8], "big")
            if len(self._pending) < 8 + length:
                return
            frame = bytes(self._pending[8 : 8 + length])
            stream = self._pending[0]
            del self._pending[: 8 + length]
            yield stream, frame


class Hijacked:
    """A connection that has become a two-way stream of bytes (attach, exec)."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response  # keeps the connection from being given back to the pool
        raw: Any = response.raw
        reader: Any = raw._fp.fp  # as docker-py itself reaches for it
        below = getattr(reader, "raw", reader)
        connection: socket.socket = getattr(below, "_sock", below)
        # Output may have come together with the headers: it is in the reader's buffer, not in the socket.
        connection.settimeout(0)
        self._early = b""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._early = bytes(reader.peek()) if hasattr(reader, "peek") else b""
        connection.settimeout(None)
        self._socket = TlsStream(connection) if isinstance(connection, ssl.SSLSocket) else connection

    def receive(self) -> bytes:
        """The next bytes, b"" at the end."""
        if self._early:
            early, self._early = self._early, b""
            return early
        try:
            return self._socket.recv(65536)
        except ConnectionResetError:
            return b""

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def end_input(self) -> None:
        """Tell the other side that no more input follows; its output still comes."""
        self._socket.shutdown(socket.SHUT_WR)

    def interrupt(self) -> None:
        """Make a `receive` that waits in another thread return b"" now."""
        with contextlib.suppress(OSError):  # the other side may have closed first
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._response.close()


def hijack(
    client: DockerClient, path: str, *, params: Mapping[str, Any] | None = None, body: Any = None
) -> Hijacked:
    """POST and take over the connection. Raises docker.errors.APIError."""
    headers = {"Connection": "Upgrade", "Upgrade": "tcp"}
    return Hijacked(call(client, "POST", path, params=params, body=body, headers=headers, stream=True))
