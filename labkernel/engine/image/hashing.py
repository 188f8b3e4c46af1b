"""Counting and hashing bytes on their way."""

from __future__ import annotations

import hashlib

from labkernel.engine.image.tarformat import Reader
from labkernel.engine.image.tarwriter import Writer


class _Hashed:
    """`size`: the bytes that have passed."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()


class HashingWriter(_Hashed):
    """Writes on to `out`, if there is one."""

    def __init__(self, out: Writer | None = None) -> None:
        super().__init__()
        self._out = out

    def write(self, data: memoryview | bytes, /) -> None:
        self._hash.update(data)
        self.size += len(data)
        if self._out is not None:
            self._out.write(data)


class HashingReader(_Hashed):
    """Reads from `source`."""

    def __init__(self, source: Reader) -> None:
        super().__init__()
        self._source = source

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self._hash.update(data)
        self.size += len(data)
        return data
