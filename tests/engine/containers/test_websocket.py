"""`GET /containers/{id}/attach/ws`, spoken to by a client that is not ours; the same on Docker."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
import websocket

from tests.support.daemons import Daemon
from tests.support.room import wait_until

_TALK = "echo early; read word; echo got $word; read word; exit 3"


def _attach(daemon: Daemon, container: str, query: str) -> Any:
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(10)
    stream.connect(str(daemon.socket))
    url = f"ws://localhost/v1.41/containers/{container}/attach/ws?{query}"
    return websocket.create_connection(url, socket=stream)


def _goodbye(connection: Any) -> Any:
    """The frame that closes; it is not answered, for the other side may be gone."""
    while (frame := connection.recv_frame()).opcode != websocket.ABNF.OPCODE_CLOSE:
        pass
    return frame


@pytest.mark.parametrize("terminal", [False, True])
def test_a_conversation(docker_host: Daemon, terminal: bool) -> None:
    api = docker_host.client().api
    made = api.create_container("busybox", ["sh", "-c", _TALK], name="box", stdin_open=True, tty=terminal)
    api.start(made)
    for _ in wait_until(5, 0.05):
        if b"early" in api.logs(made):
            break
    connection = _attach(docker_host, "box", "logs=1&stream=1&stdin=1&stdout=1&stderr=1")
    newline = b"\r\n" if terminal else b"\n"
    assert connection.recv_data() == (websocket.ABNF.OPCODE_BINARY, b"early" + newline)
    connection.send("hel")
    connection.ping("are you there")
    connection.send_binary(b"lo\n")
    received = b""
    while b"got hello" + newline not in received:
        opcode, data = connection.recv_data(control_frame=True)
        assert opcode in (websocket.ABNF.OPCODE_BINARY, websocket.ABNF.OPCODE_PONG)
        received += data
    assert b"are you there" in received
    connection.send("bye\n")
    assert api.wait(made)["StatusCode"] == 3
    goodbye = _goodbye(connection)
    assert goodbye.data[:2] == (1000).to_bytes(2, "big")
    api.close()


def test_a_client_that_closes_leaves_the_container_alone(docker_host: Daemon) -> None:
    api = docker_host.client().api
    made = api.create_container("busybox", ["cat"], name="box", stdin_open=True, detach=True)
    api.start(made)
    for _ in range(3):
        connection = _attach(docker_host, "box", "stream=1&stdin=1&stdout=1")
        connection.send("hello\n")
        assert connection.recv_data()[1] == b"hello\n"
        connection.close()
    assert api.inspect_container(made)["State"]["Running"]
    api.close()


def test_an_answer_to_who_speaks_no_websocket(docker_host: Daemon) -> None:
    api = docker_host.client().api
    api.create_container("busybox", ["cat"], name="box", stdin_open=True, detach=True)
    with socket.socket(socket.AF_UNIX) as plain:
        plain.connect(str(docker_host.socket))
        plain.sendall(b"GET /v1.41/containers/box/attach/ws HTTP/1.1\r\nHost: x\r\n\r\n")
        plain.settimeout(5)
        answer = plain.recv(4096)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"not websocket protocol" in answer
    api.close()


def test_a_message_that_is_too_large_ends_the_connection(lab: Daemon) -> None:
    api = lab.client().api
    made = api.create_container("busybox", ["cat"], name="box", stdin_open=True, detach=True)
    api.start(made)
    connection = _attach(lab, "box", "stream=1&stdin=1&stdout=1")
    began = time.monotonic()
    connection.sock.sendall(b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"mask")
    assert _goodbye(connection).data[:2] == (1009).to_bytes(2, "big")
    assert time.monotonic() - began < 5
    assert api.inspect_container(made)["State"]["Running"]
    api.close()
