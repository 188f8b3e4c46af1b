from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from labkernel.course.check import Failed
from labkernel.course.web import get

OK = b"HTTP/1.1 200 OK\r\n"


def silent(connection: socket.socket) -> None:
    time.sleep(5)


def trickle(connection: socket.socket) -> None:
    connection.sendall(OK + b"\r\n")
    for _ in range(50):
        connection.sendall(b"x")
        time.sleep(0.1)


def trickling_headers(connection: socket.socket) -> None:
    connection.sendall(OK)
    for number in range(50):
        connection.sendall(b"X-%d: x\r\n" % number)
        time.sleep(0.1)


ANSWERS: dict[str, tuple[Callable[[socket.socket], None], str]] = {
    "silence": (silent, "nothing answers in time"),
    "a body without an end": (trickle, "nothing answers in time"),
    "headers without an end": (trickling_headers, "nothing answers in time"),
    "no answer": (lambda connection: None, "the connection ends without an answer"),
    "another protocol": (
        lambda connection: connection.sendall(b"220 mail.example ESMTP\r\n"),
        "what answers is not HTTP",
    ),
}


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
    """Serves each connection with a function; gives the port."""
    listening: list[socket.socket] = []

    def serve(answer: Callable[[socket.socket], None]) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)

        def one(connection: socket.socket) -> None:
            with connection:
                try:
                    connection.recv(65536)
                    answer(connection)
                except OSError:  # who asked has gone
                    pass

        def run() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(connection,), daemon=True).start()

        threading.Thread(target=run, daemon=True).start()
        port: int = server.getsockname()[1]
        return port

    yield serve
    for server in listening:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.mark.parametrize(("answer", "why"), ANSWERS.values(), ids=ANSWERS)
def test_what_does_not_answer(
    serve: Callable[[Callable[[socket.socket], None]], int],
    answer: Callable[[socket.socket], None],
    why: str,
) -> None:
    port = serve(answer)
    begun = time.monotonic()
    with pytest.raises(Failed) as caught:
        get("127.0.0.1", port, "/", patience=0.5, most=100)
    assert caught.value.message == f"http://127.0.0.1:{port}/ does not answer: {why}"
    assert time.monotonic() - begun < 3


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Failed, match="does not answer: nothing listens there"):
        get("127.0.0.1", port, "/", patience=0.2, most=100)


def test_another_status(serve: Callable[[Callable[[socket.socket], None]], int]) -> None:
    port = serve(lambda connection: connection.sendall(b"HTTP/1.1 404 Not Found\r\n\r\n"))
    with pytest.raises(Failed, match=r"/x answers with status 404, not 200"):
        get("127.0.0.1", port, "/x", patience=5, most=100)


def test_an_answer_and_no_more_of_it_than_asked_for(
    serve: Callable[[Callable[[socket.socket], None]], int],
) -> None:
    port = serve(lambda connection: connection.sendall(OK + b"\r\n" + b"hi \xff" + b"x" * 1_000_000))
    assert get("127.0.0.1", port, "/", patience=5, most=6) == "hi \ufffdxx"


def test_a_server_may_need_time_to_start(serve: Callable[[Callable[[socket.socket], None]], int]) -> None:
    asked = []

    def later(connection: socket.socket) -> None:
        asked.append(connection)
        if len(asked) > 2:
            connection.sendall(OK + b"\r\nup")

    assert get("127.0.0.1", serve(later), "/", patience=10, most=100) == "up"
    assert len(asked) == 3
