"""HTTP/1.1 for the API and the classroom's registry: requests in, responses and streams out.

llhttp (through httptools) parses; this file owns the connection, because the Docker Engine API takes
connections over: after `101 UPGRADED` (or a bare `200`) the socket carries raw bytes both ways, and the
client closes its writing half to say that stdin has ended while it still reads. No HTTP framework hands
over such a socket.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, BinaryIO, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import httptools

from labkernel.engine.errors import InvalidParameter
from labkernel.engine.http.byte_queue import BODY_HIGH_WATER, ByteQueue, Disconnected
from labkernel.engine.http.departures import Departures
from labkernel.engine.http.hangups import Hangups
from labkernel.engine.http.hijacked import HijackedStream
from labkernel.engine.http.json_text import json_error, object_from
from labkernel.engine.http.tls import TlsConnection

log = logging.getLogger(__name__)

HEADER_LIMIT = 1 << 20
"""Bytes of request line and headers; Go's net/http, which clients are tested against, allows as much."""
JSON_LIMIT = 16 << 20
"""Bytes of a JSON body; container descriptions are kilobytes."""
HEADER_SECONDS = 60.0
"""From the first byte of a request to the last of its headers; Go's servers that set it are as patient."""
BACKLOG = 1024
"""Connections that wait to be accepted; to one more, a unix socket that does not block says EAGAIN."""
PIPELINED_LIMIT = 64
"""Requests of one connection that wait for their answers; no client of the API sends a second one early."""
DISCARD_LIMIT, DISCARD_SECONDS = 16 << 20, 2.0
"""Bytes and time for the rest of a body whose request was answered before it had arrived."""

T = TypeVar("T")


@dataclass
class Request:
    """One request. `path` is decoded and has lost its `/v1.NN` prefix; header names are lower case."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: ByteQueue
    connection: Connection
    api_version: tuple[int, int]
    keep_alive: bool = True
    parameters: dict[str, str] = field(default_factory=dict)

    def argument(self, name: str, default: str = "") -> str:
        values = self.query.get(name)
        return values[0] if values else default

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean query argument: Docker takes anything but these words as true."""
        values = self.query.get(name)
        if not values:
            return default
        return values[0].strip().lower() not in ("", "0", "no", "false", "none")

    def integer(self, name: str, default: int | None = None) -> int | None:
        text = self.argument(name)
        if not text:
            return default
        try:
            return int(text)
        except ValueError:
            raise InvalidParameter(
                f'strconv.Atoi: parsing "{text}": invalid syntax', hint=f"{name} is a whole number"
            ) from None

    def filters(self) -> dict[str, list[str]]:
        """The `filters` argument: `{"label": ["a=b"]}`, or the older `{"label": {"a=b": true}}`."""
        text = self.argument("filters")
        if not text:
            return {}
        try:
            given = json.loads(text)
            if any(isinstance(values, str) for values in given.values()):
                raise TypeError
            return {key: [str(value) for value in values] for key, values in given.items()}
        except json.JSONDecodeError as error:
            raise InvalidParameter(json_error(error, "unexpected end of JSON input")) from None
        except (AttributeError, TypeError):
            raise InvalidParameter(f"invalid filter: {text!r} is not a JSON object of lists") from None

    async def json(self, *, required: bool = True) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            InvalidParameter: not JSON, not an object, absent, or larger than JSON_LIMIT.
        """
        data = bytearray()
        async for chunk in self.body:
            data += chunk
            if len(data) > JSON_LIMIT:
                raise InvalidParameter(f"request body is larger than {JSON_LIMIT} bytes")
        if not data:
            if required:
                raise InvalidParameter("EOF", hint="the request needs a JSON object as its body")
            return {}
        kind = self.headers.get("content-type", "application/json")
        if kind.split(";")[0].strip() != "application/json":
            raise InvalidParameter(f"Content-Type specified ({kind}) must be 'application/json'")
        return object_from(data)

    async def hijack(self, content_type: str) -> HijackedStream:
        """Take the connection over: answers 101 when the client asked to upgrade, else a bare 200."""
        return await self.connection.hijack(self, content_type)

    async def take_over(self, head: bytes) -> HijackedStream:
        """Take the connection over with an answer of one's own."""
        return await self.connection.take_over(head)

    async def unless_disconnected(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`, cancelled as soon as the client goes away.

        Raises:
            Disconnected: it went.
        """
        task = asyncio.ensure_future(work)
        lost = asyncio.ensure_future(self.connection.lost.wait())
        try:
            await asyncio.wait((task, lost), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Disconnected
            return task.result()
        finally:
            lost.cancel()
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


@dataclass
class Response:
    """A whole answer: `body` is sent as it is, with its length."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
        return cls(status, json.dumps(value, separators=(",", ":")).encode() + b"\n", headers=headers or {})

    @classmethod
    def empty(cls, status: int = 204) -> Response:
        return cls(status, b"", content_type="")


@dataclass
class StreamResponse:
    """An answer that goes on: the head is sent at once, each chunk when it is there."""

    chunks: AsyncGenerator[bytes, None]
    content_type: str = "application/json"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class FileResponse:
    """Some of a file's bytes, sent by the kernel (sendfile(2)), with their length; closes the file.

    Not in TLS, which has nothing to send as a file: the API has no such answer.
    """

    file: BinaryIO
    offset: int
    size: int
    content_type: str = "application/octet-stream"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Answer = Response | StreamResponse | FileResponse | None
"""None: the handler hijacked the connection and is done with it."""
Handler = Callable[[Request], Awaitable[Answer]]


class Connection(asyncio.Protocol):
    """One client connection: requests one after the other, each answered by `handler`."""

    def __init__(self, handler: Handler, server: Server) -> None:
        self._handler = handler
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._requests: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._incoming: ByteQueue | None = None  # where bytes go once the connection is hijacked
        self._upgrade_tail = b""
        self._upgraded = False
        self._upgrade_body = 0  # bytes of a request's body that follow although it asks to upgrade
        self._in_head = True
        self._head_size = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._body_moved, self._framing_size = False, 0
        self._refusal: Response | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.lost = asyncio.Event()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connections.add(self)
        if self._server.crowded(transport):
            message = f"too many open connections: {len(self._server.connections)}"
            self._refuse(503, message)

    def data_received(self, data: bytes) -> None:
        if self._incoming is not None:
            self._incoming.feed(data)
            return
        if self._upgraded:
            self._after_upgrade(data)
            return
        if self._in_head:  # the parser keeps a header for itself until it has all of it
            self._count_head(len(data))
        in_body, self._body_moved = not self._in_head, False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded = True
            self._after_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(400, f"malformed HTTP request: {error}")
        if in_body and not self._in_head:
            self._count_framing(len(data))
        if self._in_head and self._head_timer is None and self._refusal is None:
            self._head_timer = asyncio.get_running_loop().call_later(HEADER_SECONDS, self._head_is_late)

    def _count_framing(self, size: int) -> None:
        """The parser keeps a chunked body's trailers for itself, too."""
        self._framing_size = 0 if self._body_moved else self._framing_size + size
        if self._framing_size > HEADER_LIMIT:
            self._refuse(431, f"request trailers are larger than {HEADER_LIMIT} bytes")

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._in_head:
            self._refuse(408, f"request headers did not arrive within {HEADER_SECONDS:.0f} seconds")

    def _after_upgrade(self, data: bytes) -> None:
        """llhttp takes everything after the head for the new protocol, but `POST /exec/{id}/start` has a
        body first.
        """
        body, rest = data[: self._upgrade_body], data[self._upgrade_body :]
        if self._upgrade_body:
            self._requests[-1].body.feed(body)
            self._upgrade_body -= len(body)
            if not self._upgrade_body:
                self._requests[-1].body.end()
        self._upgrade_tail += rest
        if len(self._upgrade_tail) > BODY_HIGH_WATER:  # until a handler takes over, if any does
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The client closed its writing half: it may still read, or be gone, which only `Hangups` tells."""
        if self._incoming is not None:
            self._incoming.end()
        elif self._requests:
            self._requests[-1].keep_alive = False
            self._requests[-1].body.end(lost=True)
        else:
            return False
        self._server.hangups.watch(self._transport.get_extra_info("socket"), self._transport.abort)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._writable.set()
        self._stop_head_timer()
        self._server.hangups.forget(self._transport.get_extra_info("socket"))
        self._server.departures.add(self._depart)

    def _depart(self) -> None:
        """Tell all who deal with the client that it is gone."""
        self.lost.set()
        if self._incoming is not None:
            self._incoming.end(lost=True)
        for request in self._requests:
            request.body.end(lost=True)
        self._server.connections.discard(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # httptools' callbacks

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # what follows a chunked body is of no use here
            self._headers[name.decode("latin-1").lower()] = value.decode("utf-8", "surrogateescape")

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _count_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > HEADER_LIMIT:
            self._refuse(431, f"request headers are larger than {HEADER_LIMIT} bytes")

    def on_headers_complete(self) -> None:
        self._in_head, self._head_size = False, 0
        self._stop_head_timer()
        if len(self._requests) >= PIPELINED_LIMIT:
            self._refuse(400, f"more than {PIPELINED_LIMIT} requests wait for their answers")
        if self._refusal is not None:
            return
        url = urlsplit(self._url.decode("utf-8", "replace"))
        path, version = split_version(unquote(url.path))
        body = ByteQueue(self._transport.pause_reading, self._resume_reading)
        request = Request(
            method=self._parser.get_method().decode(),
            path=path,
            query=parse_qs(url.query, keep_blank_values=True) if url.query else {},
            headers=self._headers,
            body=body,
            connection=self,
            api_version=version,
            keep_alive=self._parser.should_keep_alive(),
        )
        if self._headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = self._headers.get("content-length", "")
        if self._parser.should_upgrade() and length.isdigit():
            self._upgrade_body = int(length)
        self._requests.append(request)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve())

    def on_body(self, body: bytes) -> None:
        self._body_moved = True
        if self._refusal is None:
            self._requests[-1].body.feed(body)

    def on_message_complete(self) -> None:
        if self._requests and not self._upgrade_body:
            self._requests[-1].body.end()

    # answering

    def _resume_reading(self) -> None:
        if not self._transport.is_closing() and self._refusal is None:
            self._transport.resume_reading()

    def _refuse(self, status: int, message: str) -> None:
        """Nothing more is read; the answer comes after those of the requests before."""
        if self._refusal is None:
            self._refusal = Response.json({"message": message}, status)
            self._transport.pause_reading()
            if self._requests:
                self._requests[-1].body.end(lost=True)
        if self._task is None:
            self._close_refused()

    def _close_refused(self) -> None:
        if self._refusal is not None and not self._transport.is_closing():
            self._send(self._refusal, close=True)
            self._transport.close()

    async def _serve(self) -> None:
        while self._requests:
            request = self._requests[0]
            try:
                await self._answer(request)
            except (Disconnected, ConnectionError):
                self._transport.close()
            except Exception:
                # The head is sent: that the body stops short is all that can still be said.
                log.exception("%s %s failed in the middle of its answer", request.method, request.path)
                self._transport.abort()
            finally:
                self._requests.popleft()
            if self._incoming is not None or self._transport.is_closing():
                break
            if request.headers.get("upgrade") or not request.keep_alive:
                self._transport.close()  # after a refused upgrade the parser cannot go on
                break
            if not await self._discard(request.body):
                self._transport.close()
                break
        self._task = None
        self._close_refused()

    async def _discard(self, body: ByteQueue) -> bool:
        """Read what the handler left of a body, since a client that cannot send it may not read the answer.

        Bounded in bytes and time; whether the end was reached.
        """

        async def read() -> bool:
            size = 0
            async for chunk in body:
                size += len(chunk)
                if size > DISCARD_LIMIT:
                    return False
            return True

        try:
            return await asyncio.wait_for(read(), DISCARD_SECONDS)
        except (TimeoutError, Disconnected):
            return False

    async def _answer(self, request: Request) -> None:
        answer = await self._handler(request)
        if answer is None:
            self._transport.close()
        elif isinstance(answer, Response):
            self._send(answer, head_only=request.method == "HEAD", close=not request.keep_alive)
            await self._drain()
        elif isinstance(answer, FileResponse):
            await self._send_file(request, answer)
        else:
            await self._stream(request, answer)

    def _send(self, response: Response, *, head_only: bool = False, close: bool = False) -> None:
        headers = dict(response.headers)
        if response.content_type and response.body:
            headers["Content-Type"] = response.content_type
        if response.status not in (204, 304):
            headers.setdefault("Content-Length", str(len(response.body)))
        if close:
            headers["Connection"] = "close"
        body = b"" if head_only else response.body
        self._transport.write(self._head(response.status, headers) + body)

    async def _stream(self, request: Request, response: StreamResponse) -> None:
        headers = {**response.headers, "Transfer-Encoding": "chunked"}
        if response.content_type:
            headers["Content-Type"] = response.content_type
        self._transport.write(self._head(response.status, headers))

        async def send() -> None:
            # Whatever makes the chunks is told at once when nobody wants more of them.
            async with aclosing(response.chunks) as chunks:
                async for chunk in chunks:
                    if chunk:
                        await self.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await self.write(b"0\r\n\r\n")

        await request.unless_disconnected(send())

    async def _send_file(self, request: Request, response: FileResponse) -> None:
        with response.file:
            headers = {**response.headers, "Content-Length": str(response.size)}
            headers["Content-Type"] = response.content_type
            self._transport.write(self._head(response.status, headers))
            if request.method == "HEAD" or not response.size:
                return
            loop = asyncio.get_running_loop()
            sent = await loop.sendfile(self._transport, response.file, response.offset, response.size)
            if sent < response.size:  # what was promised cannot be said any more
                self._transport.abort()

    def _head(self, status: int, headers: dict[str, str]) -> bytes:
        phrase = "UPGRADED" if status == 101 else HTTPStatus(status).phrase
        lines = [f"HTTP/1.1 {status} {phrase}"]
        lines += [f"{name}: {value}" for name, value in (self._server.headers | headers).items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")

    async def hijack(self, request: Request, content_type: str) -> HijackedStream:
        if request.headers.get("upgrade"):
            headers = {"Content-Type": content_type, "Connection": "Upgrade", "Upgrade": "tcp"}
            return await self.take_over(self._head(101, headers))
        return await self.take_over(self._head(200, {"Content-Type": content_type}))

    async def take_over(self, head: bytes) -> HijackedStream:
        incoming = ByteQueue(self._transport.pause_reading, self._resume_reading)
        if self._upgrade_tail:
            incoming.feed(self._upgrade_tail)  # which pauses the socket again, should it have been paused
            self._upgrade_tail = b""
        self._incoming = incoming
        await self.write(head)
        return HijackedStream(self, incoming, self._transport.get_extra_info("socket"))

    async def write(self, data: bytes) -> None:
        """Send, waiting while the client does not read.

        Raises:
            Disconnected: the client is gone.
        """
        if self.lost.is_set() or self._transport.is_closing():
            raise Disconnected
        self._transport.write(data)
        await self._drain()

    async def _drain(self) -> None:
        if not self._writable.is_set():
            await self._writable.wait()

    def close(self) -> None:
        self._transport.close()


class Server:
    """Listens on sockets; `headers` go with every answer. Made on the loop that it is to run on.

    `most_descriptors` leaves some of the process's open files to what is already under way: a connection
    whose socket has that number or a higher one is answered with 503. open(2) and accept(2) give the lowest
    number that is free, so that a number tells how many are taken, by whatever.
    """

    def __init__(self, handler: Handler, headers: dict[str, str], *, most_descriptors: int = 1 << 30) -> None:
        self.handler = handler
        self.headers = headers
        self.hangups = Hangups()
        self.departures = Departures()
        self.connections: set[Connection] = set()
        self._most_descriptors = most_descriptors
        self._handshakes: set[TlsConnection] = set()
        self._servers: list[asyncio.Server] = []

    async def listen(self, sock: socket.socket, context: ssl.SSLContext | None = None) -> None:
        """Serve what the socket accepts; in TLS, where there is a context (see `tls.server_context`)."""
        loop = asyncio.get_running_loop()
        create = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
        make: Callable[[], asyncio.Protocol] = self._connection
        if context is not None:
            make = partial(TlsConnection, context, self._connection, self._handshakes)
        self._servers.append(await create(make, sock=sock, backlog=BACKLOG))

    def _connection(self) -> Connection:
        return Connection(self.handler, self)

    def crowded(self, transport: asyncio.BaseTransport) -> bool:
        return bool(transport.get_extra_info("socket").fileno() >= self._most_descriptors)

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.close()
        self.hangups.close()


def split_version(path: str) -> tuple[str, tuple[int, int]]:
    """`/v1.41/info` -> (`/info`, (1, 41)); a path without a version counts as the newest."""
    if path.startswith("/v") and path[2:3].isdigit():
        prefix, slash, rest = path[2:].partition("/")
        major, dot, minor = prefix.partition(".")
        if dot and major.isdigit() and minor.isdigit():
            return slash + rest, (int(major), int(minor))
    return path, (999, 0)
