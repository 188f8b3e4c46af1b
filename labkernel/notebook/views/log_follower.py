"""Follows the log of one container, in a thread of its own."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from labkernel.commands import connect
from labkernel.commands.http import Demultiplexer, call, cancel
from labkernel.notebook.views.log_lines import NOTE, Splitter, Written

if TYPE_CHECKING:
    from docker import DockerClient

BURST = 512 * 1024
"""Bytes in a second; a container that writes more is not followed line by line, but looked at each second."""


def read_log(client: DockerClient, container: str, *, tty: bool, tail: int) -> list[Written]:
    """The last `tail` lines that the container wrote. Raises docker.errors.APIError."""
    params = {"stdout": 1, "stderr": 1, "timestamps": 1, "tail": tail}
    response = call(client, "GET", f"/containers/{quote(container)}/logs", params=params, stream=True)
    found: list[Written] = []
    with contextlib.closing(lines_of(response, tty=tty)) as batches:
        for _, lines in batches:
            found += lines
            if len(found) >= tail:  # some engines go on while the container does
                break
    return found[:tail]


def lines_of(response: Any, *, tty: bool) -> Generator[tuple[int, list[Written]]]:
    """The lines of an answer, as many at once as have come, and how many bytes that was."""
    demultiplexer, splitter = Demultiplexer(), Splitter()
    try:
        for chunk in response.iter_content(None):
            pieces = [(1, chunk)] if tty else demultiplexer.feed(chunk)
            yield len(chunk), [line for stream, data in pieces for line in splitter.feed(stream, data)]
    finally:
        response.close()


class LogFollower:
    """Gives `take` what the container writes after `since` (nanoseconds since 1970), from `go` until it ends.

    `go` again after it was started again, or the engine was.
    """

    def __init__(
        self,
        host: str | None,
        container: str,
        *,
        tty: bool,
        since: int,
        tail: int,
        take: Callable[[list[Written]], None],
    ) -> None:
        self._host = host
        self._container = container
        self._tty = tty
        self._since = since
        self._tail = tail
        self._take = take
        self._go = threading.Event()
        self._ended = threading.Event()
        self._response: Any = None
        self._thread = threading.Thread(
            target=self._work, name=f"labkernel log: {container[:12]}", daemon=True
        )
        self._thread.start()

    def go(self) -> None:
        self._go.set()

    def stop(self) -> None:
        self._ended.set()
        self._go.set()
        if self._response is not None:
            cancel(self._response)

    def _work(self) -> None:
        while self._go.wait() and not self._ended.is_set():
            self._go.clear()
            with contextlib.suppress(Exception):  # the container or the engine has gone; the view says so
                self._follow_to_the_end()

    def _follow_to_the_end(self) -> None:
        client = connect(self._host)
        try:
            while self._follow(client) and not self._ended.is_set():
                # It writes more than anybody reads: leave out what is between, and look at the end again.
                self._take([Written(NOTE, self._since, "… more lines than can be shown …")])
                self._ended.wait(1)
        finally:
            client.close()

    def _follow(self, client: DockerClient) -> bool:
        """Take lines until there are no more (False) or too many (True)."""
        # Not by `since`: for that an engine may read the log from its beginning.
        params = {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": 1, "tail": self._tail}
        path = f"/containers/{quote(self._container)}/logs"
        self._response = call(client, "GET", path, params=params, stream=True)
        before, started, read = self._since, time.monotonic(), 0
        with contextlib.closing(lines_of(self._response, tty=self._tty)) as batches:
            for size, lines in batches:
                new = [line for line in lines if line.time > before]
                if new:
                    self._since = new[-1].time
                    self._take(new)
                if self._ended.is_set():
                    break
                read += size
                if time.monotonic() - started > 1:
                    started, read = time.monotonic(), 0
                elif read > BURST:
                    return True
        return False
