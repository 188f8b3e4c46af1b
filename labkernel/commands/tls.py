"""A two-way stream in TLS: two threads, and an end of input that leaves the output open.

Python's `SSLSocket` has neither: OpenSSL's session is not for two threads at once, `shutdown` takes the TLS
away, and `unwrap` waits for the other side's end and drops what arrives before that.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading


class TlsStream:
    """As much of a socket as a hijacked connection needs, of an `SSLSocket` that it takes over."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection
        self._connection.setblocking(False)
        self._session = threading.Lock()
        self._ended = False  # on both sides: there is no TLS any more

    def recv(self, size: int) -> bytes:
        while True:
            try:
                with self._session:
                    return b"" if self._ended else self._connection.recv(size)
            except ssl.SSLWantReadError:
                select.select([self._connection], [], [])
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def sendall(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                with self._session:
                    left = left[self._connection.send(left) :]
            except ssl.SSLWantWriteError:
                select.select([], [self._connection], [])

    def shutdown(self, how: int) -> None:
        if how == socket.SHUT_WR:
            self._send_close_notify()
        else:
            socket.socket.shutdown(self._connection, how)  # SSLSocket's own would take the TLS away

    def _send_close_notify(self) -> None:
        """`unwrap` sends it and then reads; so for that moment the session stands on a pair of our own, where
        there is nothing to be read and lost.
        """
        ours, theirs = socket.socketpair()
        number = self._connection.fileno()
        with ours, theirs, self._session:
            ours.setblocking(False)
            tcp = os.dup(number)
            try:
                os.dup2(ours.fileno(), number, inheritable=False)
                with contextlib.suppress(ssl.SSLError):
                    self._connection.unwrap()
                    self._ended = True
            finally:
                os.dup2(tcp, number, inheritable=False)
                os.close(tcp)
            alert = theirs.recv(65536, socket.MSG_DONTWAIT)
            _send(number, alert)


def _send(number: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(number, data) :]
        except BlockingIOError:
            select.select([], [number], [])
