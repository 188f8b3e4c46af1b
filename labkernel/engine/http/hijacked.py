"""A connection that was taken over: raw bytes both ways."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from typing import TYPE_CHECKING

from labkernel.engine.http.byte_queue import ByteQueue, Disconnected

if TYPE_CHECKING:
    from labkernel.engine.http.server import Connection

HEAD_SECONDS = 0.5
"""How long output waits for a client that does not read the head."""


class HijackedStream:
    """The raw connection: `read()` what the client sends until it half-closes, `write()` what it shall
    get.
    """

    def __init__(self, connection: Connection, incoming: ByteQueue, sock: socket.socket) -> None:
        self._connection = connection
        self._incoming = incoming
        self._socket = sock
        self._head_is_read = False
        self.lost = connection.lost

    async def read(self) -> bytes:
        """The next bytes, b"" when the client closed its writing half or is gone."""
        try:
            return await self._incoming.read()
        except Disconnected:
            return b""

    async def write(self, data: bytes) -> None:
        """Raises Disconnected when the client is gone."""
        if not self._head_is_read:
            await until_read(self._socket)
            self._head_is_read = True
        await self._connection.write(data)

    def close(self) -> None:
        self._connection.close()


async def until_read(sock: socket.socket, patience: float = HEAD_SECONDS) -> None:
    """Wait until the other end of a Unix socket has read what was sent, `patience` seconds at most.

    docker-py reads the head through a buffer and then goes on with the bare socket: output that arrives in
    one read with the head is lost to it. dockerd is never that fast.
    """
    pause, waited = 0.0002, 0.0
    while _unread(sock) and waited < patience:
        await asyncio.sleep(pause)
        waited += pause
        pause = min(2 * pause, 0.02)


def _unread(sock: socket.socket) -> int:
    """What of the data sent is still the kernel's (unix(7), SIOCOUTQ is tty's TIOCOUTQ); 0 where it cannot
    be told: over TCP it would be what has not arrived, not what has not been read.
    """
    if sock.family != socket.AF_UNIX:
        return 0
    try:
        amount: int = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0]
    except OSError:
        return 0
    return amount
