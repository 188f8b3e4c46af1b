"""Published ports: what listens on a host port and carries the traffic to a container's port and back.

TCP: a connection to the container for each that comes in; each direction ends on its own (half-close), as
Docker's proxy does. UDP: a socket to the container for each client address, forgotten after 90 seconds of
silence.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

TCP_BUFFER = 256 * 1024
UDP_LARGEST = 65536
UDP_SILENCE = 90.0
UDP_MAX_CLIENTS = 512
#: Datagrams read in a row before others get their turn.
UDP_BURST = 64

#: Makes a socket, given its type, in the namespace from which the containers can be reached.
SocketMaker = Callable[[socket.SocketKind], Awaitable[socket.socket]]


class TcpForwarder:
    """Forwards what a listening socket accepts. Owns the socket."""

    def __init__(self, listener: socket.socket, target: tuple[str, int], new_socket: SocketMaker) -> None:
        self._listener = listener
        self._target = target
        self._new_socket = new_socket
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(listener, self._accept)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            # Out of descriptors: the connection waits in the queue, and we look again a little later.
            self._loop.remove_reader(self._listener)
            self._loop.call_later(0.1, self._listen_again)
            return
        task = self._loop.create_task(self._serve(client))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    def _listen_again(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._accept)

    async def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.setblocking(False)
            server = await self._new_socket(socket.SOCK_STREAM)
            with server:
                server.setblocking(False)
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await self._loop.sock_connect(server, self._target)
                there = self._loop.create_task(self._carry(client, server))
                try:
                    await self._carry(server, client)
                    await there
                finally:
                    there.cancel()
                    with contextlib.suppress(asyncio.CancelledError, OSError):
                        await there

    async def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        """Copy one direction until its end, and pass the end on."""
        buffer = bytearray(TCP_BUFFER)
        view = memoryview(buffer)
        try:
            while count := await self._loop.sock_recv_into(source, buffer):
                await self._loop.sock_sendall(sink, view[:count])
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            # One side is gone: the other must not wait for it.
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop listening and cut the connections under way."""
        self._loop.remove_reader(self._listener)
        self._listener.close()
        for task in self._connections:
            task.cancel()


class UdpForwarder:
    """Forwards the datagrams of a bound socket. Owns the socket."""

    def __init__(self, listener: socket.socket, target: tuple[str, int], new_socket: SocketMaker) -> None:
        self._listener = listener
        self._target = target
        self._new_socket = new_socket
        self._clients: OrderedDict[Any, _UdpClient] = OrderedDict()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(listener, self._receive)

    def _receive(self) -> None:
        for _ in range(UDP_BURST):
            try:
                data, address = self._listener.recvfrom(UDP_LARGEST)
            except OSError:
                return
            client = self._clients.get(address)
            if client is None:
                client = self._clients[address] = _UdpClient(self, address)
                if len(self._clients) > UDP_MAX_CLIENTS:
                    self._clients.popitem(last=False)[1].close()
            self._clients.move_to_end(address)
            client.send(data)

    def forget(self, address: Any) -> None:
        if client := self._clients.pop(address, None):
            client.close()

    def close(self) -> None:
        self._loop.remove_reader(self._listener)
        self._listener.close()
        while self._clients:
            self._clients.popitem()[1].close()


class _UdpClient:
    """One client address's socket to the container."""

    def __init__(self, forwarder: UdpForwarder, address: Any) -> None:
        self._forwarder = forwarder
        self._address = address
        self._loop = forwarder._loop
        self._socket: socket.socket | None = None
        self._waiting: list[bytes] = []
        self._last_heard = self._loop.time()
        self._timer = self._loop.call_later(UDP_SILENCE, self._look_whether_silent)
        self._opening = self._loop.create_task(self._open())

    async def _open(self) -> None:
        made = await self._forwarder._new_socket(socket.SOCK_DGRAM)
        made.setblocking(False)
        made.connect(self._forwarder._target)
        self._socket = made
        self._loop.add_reader(made, self._receive)
        for data in self._waiting:
            self.send(data)
        self._waiting.clear()

    def send(self, data: bytes) -> None:
        self._last_heard = self._loop.time()
        if self._socket is None:
            if len(self._waiting) < UDP_BURST:
                self._waiting.append(data)
            return
        # A full buffer or a refusal by the container loses the datagram, as UDP may.
        with contextlib.suppress(OSError):
            self._socket.send(data)

    def _receive(self) -> None:
        assert self._socket
        for _ in range(UDP_BURST):
            try:
                data = self._socket.recv(UDP_LARGEST)
                self._forwarder._listener.sendto(data, self._address)
            except OSError:
                return
            self._last_heard = self._loop.time()

    def _look_whether_silent(self) -> None:
        left = self._last_heard + UDP_SILENCE - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look_whether_silent)
        else:
            self._forwarder.forget(self._address)

    def close(self) -> None:
        self._timer.cancel()
        self._opening.cancel()
        if self._socket:
            self._loop.remove_reader(self._socket)
            self._socket.close()
