"""What the making of an image takes and gives: progress, a way to run things in a root file system, the
result.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

from labkernel.engine.linux import trees

P = ParamSpec("P")
T = TypeVar("T")

LABEL = "org.labkernel.base"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Progress:
    """Where the making of an image stands: step `step` of `steps`, what it does, how far it is within it.

    `total` is 0 when it is not known; `unit` is "bytes", "packages" or "".
    """

    step: int
    steps: int
    text: str
    done: int = 0
    total: int = 0
    unit: str = ""


class RunInRootfs(Protocol):
    """Runs one program as root in a container whose root file system is `rootfs`, written to directly.

    /proc, /sys and /dev are there; the network is the host's with `network`, none without. Returns the exit
    code. `output` gets stdout and stderr as they come.
    """

    async def __call__(
        self,
        rootfs: Path,
        args: Sequence[str],
        env: Sequence[str],
        *,
        network: bool,
        output: Callable[[bytes], None],
    ) -> int: ...


@dataclass(frozen=True)
class Recipe:
    """An image that the engine's own builder makes: a Dockerfile and the directory that is its context."""

    dockerfile: str
    context: Path


@dataclass(frozen=True)
class MadeImage:
    """A made image: either `rootfs`, the content of its only layer, or `recipe`.

    `config` is an OCI image config without its `rootfs` member (for a recipe it is empty: the Dockerfile
    says it all). `references` are the names to tag it with. The files are the caller's to move away;
    `discard` removes what is left.
    """

    references: tuple[str, ...]
    directory: Path
    config: dict[str, Any]
    rootfs: Path | None = None
    recipe: Recipe | None = None
    lock: int | None = None  # held open as long as the directory is in use

    def discard(self) -> None:
        """Removes what is left of the making; once."""
        discard(self.directory, self.lock)


def discard(directory: Path, lock: int | None) -> None:
    """Removes a directory that an image was made in; what cannot be removed is left to the next making."""
    with suppress(OSError):
        trees.remove(directory)
    if lock is not None:
        os.close(lock)


class Cancelled(Exception):
    """The making was given up while a thread worked on it."""


class Reporter:
    """Passes progress from worker threads to the event loop, at most ten times a second within a step."""

    def __init__(self, progress: Callable[[Progress], None], steps: int) -> None:
        self._progress = progress
        self._loop = asyncio.get_running_loop()
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._now = Progress(0, steps, "")
        self._sent = 0.0

    def step(self, text: str, total: int = 0, unit: str = "") -> None:
        """Begins the next step."""
        with self._lock:
            self._now = Progress(self._now.step + 1, self._now.steps, text, 0, total, unit)
            self._send()

    def advance(self, amount: int = 1) -> None:
        """Adds to what is done of the present step. Raises Cancelled when the making was given up."""
        with self._lock:
            now = self._now
            self._now = Progress(now.step, now.steps, now.text, now.done + amount, now.total, now.unit)
            if time.monotonic() - self._sent > 0.1 or self._now.done == now.total:
                self._send()

    def text(self, text: str) -> None:
        """Says something else about the present step."""
        with self._lock:
            now = self._now
            self._now = Progress(now.step, now.steps, text, now.done, now.total, now.unit)
            self._send()

    async def in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs the function in a thread; when cancelled, waits for it to end, at its next report."""
        task = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._cancelled.set()
            await asyncio.wait([task])
            raise

    def _send(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled
        self._sent = time.monotonic()
        self._loop.call_soon_threadsafe(self._progress, self._now)
