"""HTTP over a unix socket with nothing hidden: status, reason, headers and body as the daemon sent them."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Response:
    status: int
    reason: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def json_lines(self) -> list[Any]:
        """The values of a streamed body, one after the other."""
        decoder, text, values = json.JSONDecoder(), self.body.decode().lstrip(), []
        while text:
            value, end = decoder.raw_decode(text)
            values.append(value)
            text = text[end:].lstrip()
        return values


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Http:
    """Calls to the daemon behind `path`, each on a connection of its own."""

    def __init__(self, path: Path, timeout: float = 60) -> None:
        self._path = path
        self._timeout = timeout

    def call(
        self, method: str, url: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Response:
        """One request. A body that is not bytes is sent as JSON."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = _UnixConnection(self._path, self._timeout)
        try:
            connection.request(method, url, body, headers)
            answer = connection.getresponse()
            return Response(answer.status, answer.reason, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def hijack(self, url: str, body: Any = None) -> Hijacked:
        """POST and keep the connection as a raw stream, as attach and exec start do."""
        payload = b"" if body is None else json.dumps(body).encode()
        head = (
            f"POST {url} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
        )
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(self._timeout)
        connection.connect(str(self._path))
        connection.sendall(head.encode() + payload)
        received = b""
        while b"\r\n\r\n" not in received:
            more = connection.recv(4096)
            if not more:
                break
            received += more
        head_bytes, _, rest = received.partition(b"\r\n\r\n")
        status_line, *lines = head_bytes.decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines)
        return Hijacked(connection, int(status_line.split()[1]), fields, rest)


class Hijacked:
    """A connection taken over after the response head; `rest` is what had already arrived."""

    def __init__(self, connection: socket.socket, status: int, headers: dict[str, str], rest: bytes) -> None:
        self.connection = connection
        self.status = status
        self.headers = headers
        self._rest = rest

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def close_stdin(self) -> None:
        """Half-close: the other end sees end of file and may still answer."""
        self.connection.shutdown(socket.SHUT_WR)

    def read_until(self, wanted: bytes) -> bytes:
        """What comes up to and with `wanted`, or all of it when the stream ends first."""
        while wanted not in self._rest:
            more = self.connection.recv(65536)
            if not more:
                break
            self._rest += more
        before, found, self._rest = self._rest.partition(wanted)
        return before + found

    def read_all(self) -> bytes:
        while more := self.connection.recv(65536):
            self._rest += more
        everything, self._rest = self._rest, b""
        self.connection.close()
        return everything

    def __enter__(self) -> Hijacked:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()


def frames(stream: bytes) -> list[tuple[int, bytes]]:
    """Docker's framing taken apart: (stream number, payload) per 8-byte header, neighbours of a kind joined.

    How many frames a text is cut into depends on timing, so it is no part of what is compared.
    Raises ValueError for what is no framing.
    """
    found: list[tuple[int, bytes]] = []
    while stream:
        number, size = stream[0], int.from_bytes(stream[4:8], "big")
        if number > 3 or stream[1:4] != b"\0\0\0" or len(stream) < 8 + size:
            raise ValueError(f"no frame header: {stream[:16]!r}")
        payload, stream = stream[8 : 8 + size], stream[8 + size :]
        if found and found[-1][0] == number:
            payload = found.pop()[1] + payload
        found.append((number, payload))
    return found
