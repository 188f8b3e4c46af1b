"""The connection: real sockets, a handler that does as the path says, clients that behave and that do not."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkernel.engine.api.errors import error_response
from labkernel.engine.errors import EngineError
from labkernel.engine.http.byte_queue import BODY_HIGH_WATER
from labkernel.engine.http.server import (
    HEADER_LIMIT,
    PIPELINED_LIMIT,
    Answer,
    FileResponse,
    Request,
    Response,
    Server,
    StreamResponse,
)


@dataclass
class Place:
    """A server in a thread of its own; what its handler saw is in `seen`."""

    path: Path
    seen: list[str] = field(default_factory=list)
    read: int = 0
    cancelled: threading.Event = field(default_factory=threading.Event)

    async def handle(self, request: Request) -> Answer:
        self.seen.append(f"{request.method} {request.path}")
        try:
            return await self._answer(request)
        except EngineError as error:
            return error_response(error)

    async def _answer(self, request: Request) -> Answer:
        match request.path:
            case "/json":
                return Response.json(await request.json())
            case "/filters":
                return Response.json(request.filters())
            case "/count":
                self.read = 0
                async for chunk in request.body:
                    self.read += len(chunk)
                return Response.json(self.read)
            case "/refuse":
                return Response.json({"message": "no"}, 400)
            case "/slow-reader":
                self.read = len(await request.body.read())
                await asyncio.sleep(0.5)
                return Response.empty()
            case "/file":
                offset, size = int(request.argument("offset")), int(request.argument("size"))
                return FileResponse((self.path.parent / "file").open("rb"), offset, size)
            case "/stream":
                return StreamResponse(self._ticks(int(request.argument("count", "3"))))
            case "/fail":
                return StreamResponse(self._fail())
            case "/for-ever":
                return StreamResponse(self._for_ever())
            case "/hijack":
                stream = await request.hijack("application/x")
                try:
                    while data := await stream.read():
                        await stream.write(data.upper())
                    await stream.write(b"|end")
                finally:
                    stream.close()
                return None
            case "/hijack-with-body":
                body = await request.json()
                stream = await request.hijack("application/x")
                received = b""
                while data := await stream.read():
                    received += data
                await stream.write(f"{body['n']}:".encode() + received)
                stream.close()
                return None
            case "/wait":
                stream = await request.hijack("application/x")
                while await stream.read():
                    pass
                await stream.lost.wait()
                self.cancelled.set()
                return None
        return Response.json({"path": request.path, "version": request.api_version, "query": request.query})

    async def _ticks(self, count: int) -> AsyncIterator[bytes]:
        for number in range(count):
            yield f"{number}\n".encode()

    async def _fail(self) -> AsyncIterator[bytes]:
        yield b"begun"
        raise ValueError("in the middle")

    async def _for_ever(self) -> AsyncIterator[bytes]:
        yield b"first\n"
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(10)
        connection.connect(str(self.path))
        return connection

    def exchange(self, request: bytes) -> bytes:
        """Everything that comes back until the server closes; the client closes its writing half at once."""
        with self.connect() as connection:
            with suppress(BrokenPipeError):  # answered, and closed, before all of it was sent
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
            return receive(connection)


def receive(connection: socket.socket, until: bytes | None = None) -> bytes:
    received = b""
    while until is None or until not in received:
        try:
            more = connection.recv(65536)
        except ConnectionResetError:
            break
        if not more:
            break
        received += more
    return received


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "s")
    ready, loop = threading.Event(), asyncio.new_event_loop()
    end = asyncio.Event()

    async def serve() -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(place.path))
        server = Server(place.handle, {"Server": "test"})
        await server.listen(listener)
        ready.set()
        await end.wait()
        await server.close()
        for _ in range(100):
            if not server.connections:
                break
            await asyncio.sleep(0.02)
        assert not server.connections

    failed: list[BaseException] = []

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(10)
    yield place
    loop.call_soon_threadsafe(end.set)
    thread.join(10)
    assert not thread.is_alive()
    loop.close()
    assert not failed, failed


GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_requests_one_after_the_other_on_one_connection(place: Place) -> None:
    with place.connect() as connection:
        for number in range(3):
            connection.sendall(GET % f"/{number}".encode())
            answer = receive(connection, b"}\n")
            assert answer.startswith(b"HTTP/1.1 200 OK\r\nServer: test\r\n")
            assert f'"path":"/{number}"'.encode() in answer


def test_requests_sent_before_their_answers_are_answered_in_order(place: Place) -> None:
    with place.connect() as connection:
        connection.sendall((GET % b"/a") + post("/json", b'{"b":1}') + (GET % b"/stream") + (GET % b"/c"))
        answer = receive(connection, b'"/c"')
    positions = [answer.index(mark) for mark in (b'"/a"', b'{"b":1}', b"2\r\n0\n\r\n", b'"/c"')]
    assert positions == sorted(positions)
    assert place.seen == ["GET /a", "POST /json", "GET /stream", "GET /c"]


def test_a_later_request_that_closes_does_not_close_before_its_turn(place: Place) -> None:
    last = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with place.connect() as connection:
        connection.sendall((GET % b"/first") + last)
        answer = receive(connection)
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.count(b"Connection: close") == 1


@pytest.mark.parametrize("request_line", [b"GET /x HTTP/1.0", b"GET /x HTTP/1.1\r\nConnection: close"])
def test_the_server_closes_where_the_client_does_not_keep_alive(place: Place, request_line: bytes) -> None:
    with place.connect() as connection:
        connection.sendall(request_line + b"\r\nHost: x\r\n\r\n")
        assert b"Connection: close" in receive(connection)


def test_pieces_of_a_request_in_single_bytes(place: Place) -> None:
    with place.connect() as connection:
        for byte in post("/v1.41/json?a=b", b'{"k": "v"}'):
            connection.sendall(bytes((byte,)))
        assert receive(connection, b"}\n").endswith(b'{"k":"v"}\n')


def test_a_chunked_body(place: Place) -> None:
    head = b"POST /json HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = place.exchange(head + b'3\r\n{"a\r\n4;extension=1\r\n":1}\r\n0\r\nTrailer: x\r\n\r\n')
    assert answer.endswith(b'{"a":1}\n')


def test_expect_100_continue(place: Place) -> None:
    with place.connect() as connection:
        head, body = post("/json", b"{}", "Expect: 100-continue").split(b"\r\n\r\n")
        connection.sendall(head + b"\r\n\r\n")
        assert receive(connection, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert b"200 OK" in receive(connection, b"}\n")


def test_head_has_the_length_and_no_body(place: Place) -> None:
    head = place.exchange(b"HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n")
    get = place.exchange(GET % b"/x")
    assert head.endswith(b"\r\n\r\n")
    length = [line for line in head.split(b"\r\n") if line.startswith(b"Content-Length")]
    assert length[0] in get


def test_a_stream_is_chunked_and_ends(place: Place) -> None:
    answer = place.exchange(GET % b"/stream?count=2")
    assert answer.endswith(b"\r\n\r\n2\r\n0\n\r\n2\r\n1\n\r\n0\r\n\r\n")


def test_a_stream_that_fails_in_the_middle_is_cut_so_that_the_client_sees_it(place: Place) -> None:
    answer = place.exchange(GET % b"/fail")
    assert b"begun" in answer
    assert not answer.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /count HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
        b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_a_malformed_request(place: Place, sent: bytes) -> None:
    answer = place.exchange(sent)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"), answer
    assert b'{"message":"malformed HTTP request: ' in answer
    assert b"200 OK" in place.exchange(GET % b"/alive")


def test_a_malformed_chunk_ends_the_body(place: Place) -> None:
    sent = b"POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"
    assert b"200 OK" not in place.exchange(sent)


@pytest.mark.parametrize(
    "flood",
    [b"X-%d: " % 1 + b"a" * 8000 + b"\r\n", b"a" * 8000],
    ids=["many headers", "one header without end"],
)
def test_headers_without_end_are_refused_before_they_fill_the_memory(place: Place, flood: bytes) -> None:
    with place.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        sent = 0
        try:
            while sent < 8 * HEADER_LIMIT:
                connection.sendall(flood)
                sent += len(flood)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert sent < 4 * HEADER_LIMIT
        assert b"431 Request Header Fields Too Large" in receive(connection)


def test_pipelining_without_reading_has_an_end(place: Place) -> None:
    answer = place.exchange((GET % b"/next") * 1000)
    assert answer.count(b"200 OK") == PIPELINED_LIMIT
    assert answer.endswith(b'wait for their answers"}\n')


def test_a_body_that_nobody_reads_stops_the_client_not_the_memory(place: Place) -> None:
    with place.connect() as connection:
        connection.setblocking(False)
        connection.send(b"POST /slow-reader HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        sent, block = 0, bytes(1 << 20)
        for _ in range(200):
            try:
                sent += connection.send(block)
            except BlockingIOError:
                break
            except (BrokenPipeError, ConnectionResetError):
                break
            threading.Event().wait(0.001)
        assert sent < 3 * BODY_HIGH_WATER


def test_a_large_body_is_read_whole(place: Place) -> None:
    body = bytes(30_000_000)
    assert place.exchange(post("/count", body)).endswith(b"30000000\n")


def test_an_answer_before_the_body_is_read_arrives(place: Place) -> None:
    assert b"400 Bad Request" in place.exchange(post("/refuse", bytes(3_000_000)))


def test_a_client_that_goes_in_the_middle_of_its_body(place: Place) -> None:
    with place.connect() as connection:
        connection.sendall(b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert b"200 OK" in place.exchange(GET % b"/alive")
    assert place.exchange(b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{") == b""


def test_a_client_that_goes_while_a_stream_waits_is_noticed(place: Place) -> None:
    with place.connect() as connection:
        connection.sendall(GET % b"/for-ever")
        receive(connection, b"first")
        assert not place.cancelled.is_set()
    assert place.cancelled.wait(5)


def test_a_client_that_only_stops_sending_still_gets_its_stream(place: Place) -> None:
    with place.connect() as connection:
        connection.sendall(GET % b"/for-ever")
        connection.shutdown(socket.SHUT_WR)
        receive(connection, b"first")
        assert not place.cancelled.wait(0.2)
    assert place.cancelled.wait(5)


def test_a_taken_over_connection_is_raw_and_half_closes(place: Place) -> None:
    with place.connect() as connection:
        connection.sendall(
            b"POST /hijack HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly "
        )
        head = receive(connection, b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\n")
        connection.sendall(b"late")
        connection.shutdown(socket.SHUT_WR)
        rest = head.partition(b"\r\n\r\n")[2] + receive(connection)
        assert rest == b"EARLY LATE|end"


def test_a_connection_is_taken_over_without_upgrade_too(place: Place) -> None:
    answer = place.exchange(b"POST /hijack HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\nContent-Type: application/x\r\n\r\n|end")
    assert b"Content-Length" not in answer


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_an_upgrade_with_a_body_and_with_bytes_after_it(place: Place, step: int) -> None:
    sent = post("/hijack-with-body", b'{"n": 7}', "Connection: Upgrade", "Upgrade: tcp") + b"after it"
    with place.connect() as connection:
        for start in range(0, len(sent), step):
            connection.sendall(sent[start : start + step])
        connection.shutdown(socket.SHUT_WR)
        assert receive(connection).endswith(b"\r\n\r\n7:after it")


def test_a_wish_to_upgrade_that_the_connection_does_not_share(place: Place) -> None:
    """Without `Connection: Upgrade` it counts for nothing (RFC 9110, 7.8): the body is the body."""
    with place.connect() as connection:
        connection.sendall(post("/json", b'{"n": 7}', "Upgrade: tcp"))
        assert b'\r\n\r\n{"n":7}' in receive(connection, b"}")


def test_a_part_of_a_file(place: Place, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789" * 100_000)
    with place.connect() as connection:
        for _ in range(2):  # one after the other on one connection
            connection.sendall(b"GET /file?offset=5&size=700000 HTTP/1.1\r\nHost: x\r\n\r\n")
            head, _, body = receive(connection, b"\r\n\r\n").partition(b"\r\n\r\n")
            assert b"Content-Length: 700000" in head
            while len(body) < 700_000:
                body += connection.recv(1 << 20)
            assert body == (b"5678901234" * 70_000)
        connection.sendall(b"HEAD /file?offset=5&size=7 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert receive(connection).endswith(b"\r\n\r\n")


def test_a_file_that_is_shorter_than_was_promised(place: Place, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"short")
    answer = place.exchange(b"GET /file?offset=0&size=700 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer == b"" or answer.endswith(b"short")  # the connection is broken off: nothing follows


def test_a_refused_upgrade_is_an_answer_like_any_other(place: Place) -> None:
    sent = b"POST /refuse HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nstdin already"
    assert b"400 Bad Request" in place.exchange(sent)


def test_a_client_that_half_closed_a_taken_over_connection_and_then_goes_is_noticed(place: Place) -> None:
    with place.connect() as connection:
        connection.sendall(b"POST /wait HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        receive(connection, b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        assert not place.cancelled.wait(0.2)
    assert place.cancelled.wait(5)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "EOF"),
        (b"{", "unexpected EOF"),
        (b"[1]", "json: cannot unmarshal array into Go value of type object"),
        (b'"x"', "json: cannot unmarshal string into Go value of type object"),
        (b"{'a': 1}", "invalid character"),
        (b"\xc3(", "invalid"),
        (b'{"a":' * 100_000, ""),
    ],
)
def test_a_body_that_is_no_json_object(place: Place, body: bytes, message: str) -> None:
    answer = place.exchange(post("/json", body, "Content-Type: application/json"))
    assert answer.startswith(b"HTTP/1.1 400 Bad Request"), answer
    assert message.encode() in answer


def test_a_json_body_has_a_limit(place: Place) -> None:
    answer = place.exchange(post("/json", b'{"a":"' + b"x" * (17 << 20) + b'"}'))
    assert b"request body is larger than" in answer


def test_json_of_another_kind_is_refused(place: Place) -> None:
    answer = place.exchange(post("/json", b"{}", "Content-Type: text/plain"))
    assert b"Content-Type specified (text/plain) must be 'application/json'" in answer


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"label":["a=b","c"]}', b'{"label":["a=b","c"]}\n'),
        ('{"label":{"a=b":true}}', b'{"label":["a=b"]}\n'),
        ("", b"{}\n"),
        ("{}", b"{}\n"),
        ("x", b"400 Bad Request"),
        ("[]", b"400 Bad Request"),
        ('{"label":"a=b"}', b"400 Bad Request"),
        ('{"label":3}', b"400 Bad Request"),
    ],
)
def test_filters(place: Place, text: str, wanted: bytes) -> None:
    from urllib.parse import quote

    assert wanted in place.exchange(GET % f"/filters?filters={quote(text)}".encode())


@given(st.binary(max_size=200), st.lists(st.integers(1, 50), max_size=5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_arrives_the_server_answers_the_next_client(
    place: Place, noise: bytes, cuts: list[int]
) -> None:
    sent = post("/json", b'{"a":1}') + noise
    with place.connect() as connection:
        start = 0
        try:
            for size in [*cuts, len(sent)]:
                connection.sendall(sent[start : start + size])
                start += size
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        answer = receive(connection)
    assert b'{"a":1}' in answer
    assert b"200 OK" in place.exchange(GET % b"/alive")


def test_a_head_that_trickles_in_is_cut_off(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkernel.engine.http.server.HEADER_SECONDS", 0.2)
    with place.connect() as connection:
        connection.sendall(b"GET /a HTTP/1.1\r\nHost:")
        assert receive(connection).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    with place.connect() as connection:
        connection.sendall(GET % b"/a")
        assert receive(connection, b"}").startswith(b"HTTP/1.1 200 OK\r\n")
        connection.sendall(b"G")
        assert receive(connection).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_between_requests_a_client_may_take_its_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkernel.engine.http.server.HEADER_SECONDS", 0.1)
    with place.connect() as connection:
        for _ in range(2):
            connection.sendall(GET % b"/a")
            assert receive(connection, b"}").startswith(b"HTTP/1.1 200 OK\r\n")
            time.sleep(0.3)


def test_trailers_without_end_are_refused_before_they_fill_the_memory(place: Place) -> None:
    head = b"POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX: "
    with place.connect() as connection:
        connection.sendall(head)
        sent = 0
        with suppress(OSError):
            connection.settimeout(1)
            while sent < 8 * HEADER_LIMIT:
                sent += connection.send(b"a" * 65536)
        assert sent < 8 * HEADER_LIMIT


def test_bytes_after_an_upgrade_that_nobody_takes_up_stop_the_client_not_the_memory(place: Place) -> None:
    with place.connect() as connection:
        connection.sendall(
            b"POST /slow-reader HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        )
        connection.sendall(b"Content-Length: 1\r\n\r\nx")
        connection.settimeout(0.3)
        sent = 0
        with suppress(OSError):
            while sent < 4 * BODY_HIGH_WATER:
                sent += connection.send(b"a" * 65536)
        assert sent < 2 * BODY_HIGH_WATER


def test_where_too_many_files_are_open_a_client_is_told_so(tmp_path: Path) -> None:
    async def serve() -> bytes:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "s"))
        server = Server(Place(tmp_path / "s").handle, {}, most_descriptors=listener.fileno() + 8)
        await server.listen(listener)
        answers = b""
        clients = []
        for _ in range(16):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
            clients.append(writer)
            with suppress(OSError):
                writer.write(GET % b"/a")
                answers += await reader.readline()
        for writer in clients:
            writer.close()
        await asyncio.sleep(0.1)
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(GET % b"/a")
        answers += b"then " + await reader.readline()
        writer.close()
        await server.close()
        return answers

    answers = asyncio.run(serve())
    assert answers.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"HTTP/1.1 503 Service Unavailable\r\n" in answers
    assert answers.endswith(b"then HTTP/1.1 200 OK\r\n")
