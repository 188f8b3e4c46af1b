"""Who has hung up."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable


class Hangups:
    """Tells when a client that had closed its writing half is gone altogether.

    asyncio stops watching a socket at its end-of-file. epoll(7) reports EPOLLHUP for one that is registered
    for no event at all, and only when both directions are closed.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[], None]] = {}
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._look)

    def watch(self, sock: socket.socket, gone: Callable[[], None]) -> None:
        self._watched[sock.fileno()] = gone
        self._epoll.register(sock.fileno(), 0)

    def forget(self, sock: socket.socket) -> None:
        if self._watched.pop(sock.fileno(), None):
            self._epoll.unregister(sock.fileno())

    def _look(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            self._epoll.unregister(descriptor)
            self._watched.pop(descriptor)()

    def close(self) -> None:
        self._watched.clear()
        asyncio.get_running_loop().remove_reader(self._epoll.fileno())
        self._epoll.close()
