"""Signals that arrive while a container runs in the foreground belong to the container."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

from labkernel.commands.console import Console

if TYPE_CHECKING:
    from docker import DockerClient

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_PATIENCE = 3


@contextlib.contextmanager
def forward_signals(
    client: DockerClient, container: str, console: Console, *, wanted: bool = True
) -> Iterator[None]:
    """Send what we are sent on to the container. The third SIGINT or SIGTERM is ours: KeyboardInterrupt."""
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield  # only the main thread gets signals
        return
    endings = 0

    def forward(number: int, frame: FrameType | None) -> None:
        nonlocal endings
        if number in {signal.SIGINT, signal.SIGTERM}:
            endings += 1
            if endings >= _PATIENCE:
                raise KeyboardInterrupt
            if endings == _PATIENCE - 1:
                name = container[:12]
                note = f"\n{name} does not end; once more leaves it running, `docker kill {name}` ends it\n"
                console.write_error(note.encode())
        with contextlib.suppress(Exception):  # a container that has just ended takes no signals
            client.api.kill(container, signal.Signals(number).name)

    previous = {number: signal.signal(number, forward) for number in _FORWARDED}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
