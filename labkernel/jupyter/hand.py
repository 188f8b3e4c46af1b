"""A browser's pointer and keys, passed on to a screen in a thread of their own: the server never waits."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from labkernel.display import Connection, Input, Screen, connect

WAITING = 200
"""Messages that may wait for the screen; what comes on top is dropped."""
_LONGEST = 32
"""Characters of a key's name."""


class Hand:
    """One browser's hand on one screen. It takes hold of it with the first message."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="labkernel display")
        self._places = threading.Semaphore(WAITING)
        self._connection: Connection | None = None
        self._input: Input | None = None

    def receive(self, message: Mapping[str, Any]) -> None:
        """Do what a browser's message says; one that makes no sense does nothing."""
        if self._places.acquire(blocking=False):
            self._thread.submit(self._do, message)

    def close(self) -> None:
        """Let go. The thread ends by itself."""
        self._thread.submit(self._let_go)
        self._thread.shutdown(wait=False)

    def _do(self, message: Mapping[str, Any]) -> None:
        """What it raises stays in its future: a message without sense, a screen that has gone."""
        self._places.release()
        if self._connection is None:
            self._connection = connect(self._screen)
        if self._input is None:
            self._input = Input(self._connection)
        _pass_on(self._input, message)

    def _let_go(self) -> None:
        if self._connection is None:
            return
        try:
            if self._input is not None:
                self._input.release()
        finally:
            self._connection.close()


def _pass_on(hand: Input, message: Mapping[str, Any]) -> None:
    match message["kind"]:
        case "move":
            hand.move(int(message["x"]), int(message["y"]))
        case "button":
            hand.move(int(message["x"]), int(message["y"]))
            hand.button(int(message["button"]), bool(message["pressed"]))
        case "key":
            hand.key(
                str(message["key"])[:_LONGEST], bool(message["pressed"]), str(message["code"])[:_LONGEST]
            )
        case "release":
            hand.release()
