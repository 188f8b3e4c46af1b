"""The forwarder between two loopback sockets: it cannot know that a container is behind one."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from labkernel.engine.network import forwarder
from labkernel.engine.network.forwarder import TcpForwarder, UdpForwarder
from tests.engine.network.places import Machine, fetch, says, tcp_server

pytestmark = pytest.mark.usefixtures("machine")
HERE = "127.0.0.1"


async def new_socket(kind: socket.SocketKind) -> socket.socket:
    return socket.socket(socket.AF_INET, kind)


def forwarding(kind: socket.SocketKind, target: int, client: Callable[[int], Any]) -> Any:
    """Run `client` in a thread with the port that is forwarded to `target`, and return what it returns."""

    async def run() -> Any:
        listener = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK)
        listener.bind((HERE, 0))
        if kind == socket.SOCK_STREAM:
            listener.listen()
            made: TcpForwarder | UdpForwarder = TcpForwarder(listener, (HERE, target), new_socket)
        else:
            made = UdpForwarder(listener, (HERE, target), new_socket)
        try:
            return await asyncio.to_thread(client, listener.getsockname()[1])
        finally:
            made.close()

    return asyncio.run(run())


def test_what_the_server_says_arrives(machine: Machine) -> None:
    with tcp_server(machine.host, 7000, says(b"hello")):
        assert forwarding(socket.SOCK_STREAM, 7000, lambda port: fetch(HERE, port)) == b"hello"


def test_each_direction_ends_on_its_own(machine: Machine) -> None:
    """The server answers only once it has read to the end: a forwarder that closes both ways loses the
    answer.
    """

    def count(connection: socket.socket) -> None:
        size = 0
        while part := connection.recv(65536):
            size += len(part)
        connection.sendall(str(size).encode())

    def client(port: int) -> bytes:
        with socket.create_connection((HERE, port), 10) as connection:
            connection.sendall(bytes(3_000_000))
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(100)

    with tcp_server(machine.host, 7000, count):
        assert forwarding(socket.SOCK_STREAM, 7000, client) == b"3000000"


def test_much_data_both_ways_at_once(machine: Machine) -> None:
    sent = os.urandom(4 << 20)

    def echo(connection: socket.socket) -> None:
        while part := connection.recv(65536):
            connection.sendall(part)

    def send(connection: socket.socket) -> None:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)

    def client(port: int) -> bytes:
        with socket.create_connection((HERE, port), 10) as connection:
            sender = threading.Thread(target=send, args=(connection,))
            sender.start()
            received = b""
            while part := connection.recv(1 << 20):
                received += part
            sender.join()
            return received

    with tcp_server(machine.host, 7000, echo):
        assert forwarding(socket.SOCK_STREAM, 7000, client) == sent


def test_nobody_listening_behind_ends_the_connection(machine: Machine) -> None:
    def client(port: int) -> bytes:
        with socket.create_connection((HERE, port), 5) as connection:
            try:
                return connection.recv(10)
            except ConnectionResetError:
                return b""

    assert forwarding(socket.SOCK_STREAM, 7000, client) == b""


def test_a_client_that_goes_away_ends_the_server_s_connection(machine: Machine) -> None:
    ended = threading.Event()

    def wait_for_the_end(connection: socket.socket) -> None:
        connection.sendall(b"x")
        try:
            connection.recv(1)
        finally:
            ended.set()

    def client(port: int) -> None:
        with socket.create_connection((HERE, port), 5) as connection:
            assert connection.recv(1) == b"x"
        assert ended.wait(5)

    with tcp_server(machine.host, 7000, wait_for_the_end):
        forwarding(socket.SOCK_STREAM, 7000, client)


def test_closing_cuts_connections_and_frees_the_port(machine: Machine) -> None:
    async def run() -> None:
        listener = socket.create_server((HERE, 7001))
        listener.setblocking(False)
        made = TcpForwarder(listener, (HERE, 7000), new_socket)
        reader, writer = await asyncio.open_connection(HERE, 7001)
        assert await reader.read(1) == b"x"
        made.close()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        socket.create_server((HERE, 7001)).close()

    def hang(connection: socket.socket) -> None:
        connection.sendall(b"x")
        connection.recv(1)

    with tcp_server(machine.host, 7000, hang):
        asyncio.run(run())


def test_datagrams_come_back_to_whom_they_belong(machine: Machine) -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((HERE, 7000))

    def echo() -> None:
        while True:
            data, client = server.recvfrom(65536)
            if data == b"end":
                return
            server.sendto(data.upper(), client)

    thread = threading.Thread(target=echo)
    thread.start()

    def clients(port: int) -> list[bytes]:
        several = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
        for number, client in enumerate(several):
            client.settimeout(5)
            client.sendto(b"from %d" % number, (HERE, port))
        answers = [client.recv(100) for client in reversed(several)]
        several[0].sendto(bytes(60000), (HERE, port))
        assert several[0].recv(65536) == bytes(60000)
        for client in several:
            client.close()
        return answers

    try:
        answers = forwarding(socket.SOCK_DGRAM, 7000, clients)
    finally:
        server.sendto(b"end", (HERE, 7000))
        thread.join()
        server.close()
    assert answers == [b"FROM 2", b"FROM 1", b"FROM 0"]


def test_silent_udp_clients_are_forgotten(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarder, "UDP_SILENCE", 0.05)

    async def run() -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        listener.bind((HERE, 0))
        made = UdpForwarder(listener, (HERE, 7000), new_socket)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            before = len(os.listdir("/proc/self/fd"))
            client.sendto(b"x", listener.getsockname())
            for _ in range(500):
                await asyncio.sleep(0.01)
                if len(os.listdir("/proc/self/fd")) > before:
                    break
            else:
                pytest.fail("no socket was opened for the client")
            for _ in range(500):
                await asyncio.sleep(0.01)
                if len(os.listdir("/proc/self/fd")) == before:
                    break
            else:
                pytest.fail("the client's socket was not closed")
        made.close()

    asyncio.run(run())


def test_udp_clients_without_number_do_not_use_up_descriptors(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarder, "UDP_MAX_CLIENTS", 10)

    def clients(port: int) -> int:
        for _ in range(200):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(b"x", (HERE, port))
        return len(os.listdir("/proc/self/fd"))

    before = len(os.listdir("/proc/self/fd"))
    assert forwarding(socket.SOCK_DGRAM, 7000, clients) < before + 30
