"""A way to a registry that closes after so many bytes, so that what happens then happens in the middle."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

Direction = Literal["to the registry", "from the registry"]


class Gate:
    """Forwards connections from `domain` to `target`. Once `limit` bytes have passed in a direction it stops
    passing them, and `closed` is set, until `open` is called; then connections of before are broken."""

    def __init__(self, target: str, direction: Direction, limit: int) -> None:
        self._target = ("127.0.0.1", int(target.partition(":")[2]))
        self._direction = direction
        self._left = limit
        self._lock = threading.Lock()
        self._opened = threading.Event()
        self.closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.domain = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def open(self) -> None:
        self._opened.set()

    def close(self) -> None:
        self.open()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    registry = socket.create_connection(self._target)
                except OSError:
                    client.close()
                    continue
                pairs = ((client, registry, "to the registry"), (registry, client, "from the registry"))
                for source, target, direction in pairs:
                    counts = direction == self._direction and not self._opened.is_set()
                    threading.Thread(target=self._forward, args=(source, target, counts), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 14):
                if counts:
                    with self._lock:
                        self._left -= len(data)
                    if self._left <= 0:
                        self.closed.set()
                        self._opened.wait()
                        break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def gate(target: str, direction: Direction, limit: int) -> Iterator[Gate]:
    opened = Gate(target, direction, limit)
    try:
        yield opened
    finally:
        opened.close()
