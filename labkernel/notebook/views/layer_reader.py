"""Finds out in the background which files the layers of images hold, once for each layer."""

from __future__ import annotations

import contextlib
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

from labkernel.commands import connect
from labkernel.commands.archive import PieceReader
from labkernel.commands.http import call, cancel
from labkernel.notebook.views.layer_files import LayerFiles, files_of_layers

LARGEST = 1_500_000_000
"""Bytes of images whose files are looked into at once: the engine packs them all for it."""
LONGEST = 60.0
"""Seconds that one look may take."""
_CHUNK = 1 << 18


class LayerReader:
    """What is known of layers, by chain id; one for each engine, shared by all views of it."""

    def __init__(self, host: str | None) -> None:
        self.host = host
        self.known: dict[str, LayerFiles] = {}
        self._asked: set[str] = set()
        """Images that were asked for: each once, so that one that cannot be read is not tried again."""
        self._waiting: dict[str, int] = {}
        self._reading: set[str] = set()
        self._listeners: list[Callable[[], None]] = []
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._response: Any = None
        self._ended = False

    def want(self, images: Mapping[str, int]) -> None:
        """Find out about `images`, id -> size in bytes, if that was not tried before."""
        with self._change:
            new = {image: size for image, size in images.items() if image not in self._asked}
            self._asked |= new.keys()
            self._waiting |= {image: size for image, size in new.items() if size <= LARGEST}
            if self._waiting and self._thread is None:
                self._thread = threading.Thread(target=self._work, name="labkernel layers", daemon=True)
                self._thread.start()

    def is_finding(self, images: Set[str]) -> bool:
        """Whether more will be known of one of these images."""
        return not images.isdisjoint(self._waiting.keys() | self._reading)

    def settle(self, images: Set[str], seconds: float) -> bool:
        """Wait until all is known of `images` that will be, but no longer than `seconds`; whether it is."""
        with self._change:
            return self._change.wait_for(lambda: not self.is_finding(images), seconds)

    def listen(self, changed: Callable[[], None]) -> None:
        self._listeners.append(changed)

    def ignore(self, changed: Callable[[], None]) -> None:
        self._listeners.remove(changed)

    def stop(self) -> None:
        self._ended = True
        if self._response is not None:
            cancel(self._response)

    def _work(self) -> None:
        while True:
            with self._change:
                self._reading = set() if self._ended else self._next()
                if not self._reading:
                    self._thread = None
                    return
            # Whatever is wrong with an image or the engine, the picture is right without the numbers.
            with contextlib.suppress(Exception):
                self.known |= self._read(sorted(self._reading))
            with self._change:
                self._reading = set()
                self._change.notify_all()
            for changed in list(self._listeners):
                changed()

    def _next(self) -> set[str]:
        """The images to read together: as many as may be, for most share their layers."""
        batch: set[str] = set()
        left = LARGEST
        while self._waiting and (size := next(iter(self._waiting.values()))) <= left:
            image = next(iter(self._waiting))
            del self._waiting[image]
            batch.add(image)
            left -= size
        return batch

    def _read(self, images: list[str]) -> dict[str, LayerFiles]:
        client = connect(self.host)
        client.api.timeout = LONGEST  # type: ignore[assignment]
        try:
            self._response = call(client, "GET", "/images/get", params={"names": images}, stream=True)
            return files_of_layers(PieceReader(self._limited(self._response.iter_content(_CHUNK))))
        finally:
            if self._response is not None:
                self._response.close()
            self._response = None
            client.close()

    def _limited(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """An archive that ends in a tarfile.TarError when it takes too much or too long."""
        until, left = time.monotonic() + LONGEST, 2 * LARGEST
        for piece in pieces:
            left -= len(piece)
            if self._ended or left < 0 or time.monotonic() > until:
                raise tarfile.ReadError("this takes too long")
            yield piece
