"""One blob from one file into a registry: gone on with where it broke off."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, BinaryIO

from labkernel.engine.distribution.manifests import Descriptor
from labkernel.engine.distribution.registry import Registry
from labkernel.engine.errors import EngineError, Unavailable


class Upload:
    """`report` gets the bytes that the registry has been sent, and may raise to end it."""

    def __init__(
        self, registry: Registry, blob: Descriptor, body: IO[bytes], report: Callable[[int], None]
    ) -> None:
        self._registry = registry
        self._blob = blob
        self._body = body
        self._report = report
        self._location: str | None = None
        self.reached = 0
        """Bytes that the registry is known to have."""

    def run(self) -> None:
        """Begin, or go on. Raises Unavailable, after which `run` may be called again; Forbidden, System."""
        if self._location is not None and not self._find_again():
            self._location = None
        if self._location is None:
            self.reached = 0
            self._location = self._registry.begin_upload()
        if self.reached < self._blob.size:
            self._body.seek(self.reached)
            sent = _Watched(self._body, self.reached, self._report)
            self._location = self._registry.append(
                self._location,
                sent,  # type: ignore[arg-type]
                self.reached,
                self._blob.size,
            )
            self.reached = self._blob.size
        self._registry.end_upload(self._location, self._blob.digest)

    def _find_again(self) -> bool:
        """Whether the registry still has what was sent; how much that is."""
        assert self._location is not None
        try:
            self._location, self.reached = self._registry.upload_status(self._location)
        except Unavailable:
            raise
        except EngineError:
            return False
        return self.reached <= self._blob.size


class _Watched:
    """A file that tells how much of it has been read."""

    def __init__(self, file: IO[bytes] | BinaryIO, done: int, report: Callable[[int], None]) -> None:
        self._file = file
        self._report = report
        self._done = done

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._done += len(data)
        self._report(self._done)
        return data
