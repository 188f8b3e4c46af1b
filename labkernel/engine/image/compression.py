"""Compressed streams, told apart by their first bytes: gzip, zstd, xz, bzip2, or none."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any

import zstandard

from labkernel.engine.errors import InvalidParameter
from labkernel.engine.image.tarformat import Reader

_INPUT = 1 << 18
# xz's own highest preset needs 65 MiB to decompress, zstd's longest standard window is 128 MiB.
_XZ_MEMORY_LIMIT = 1 << 28
_ZSTD_WINDOW_LIMIT = 1 << 27

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\0": "xz", b"BZh": "bzip2"}


def detect(start: bytes) -> str | None:
    """The name of the compression that data starting like this has; None for none."""
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)


def decompressed(stream: Reader) -> Reader:
    """The plain content of a stream that may be compressed; a plain one is handed on.

    Reading raises InvalidParameter for damaged data and "unexpected EOF" for data that ends early.
    """
    start = b""
    while len(start) < 6 and (more := stream.read(6 - len(start))):
        start += more
    rest = _Prefixed(start, stream)
    compression = detect(start)
    if compression is None:
        return rest
    return _Zstd(rest) if compression == "zstd" else _Decompressed(rest, compression)


class _Prefixed:
    """A stream with some bytes put back before it."""

    def __init__(self, start: bytes, stream: Reader) -> None:
        self._start = start
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        if not self._start:
            return self._stream.read(size)
        data, self._start = self._start[:size], self._start[size:]
        return data


class _Gzip:
    """zlib's object with the interface of lzma's and bz2's."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail and not self._zlib.eof

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data


class _Zstd:
    """zstandard's pull reader, with its errors as ours."""

    def __init__(self, stream: Reader) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_LIMIT)
        self._reader = decompressor.stream_reader(stream, read_across_frames=True)  # type: ignore[arg-type]

    def read(self, size: int, /) -> bytes:
        try:
            return self._reader.read(size)
        except zstandard.ZstdError as error:
            raise InvalidParameter(f"zstd: damaged data: {error}") from error


class _Decompressed:
    """A gzip, xz or bzip2 stream of one or more members, as their tools read them."""

    def __init__(self, stream: Reader, compression: str) -> None:
        self._stream = stream
        self._compression = compression
        self._decompressor = _NEW[compression]()
        self._input = b""
        self._ended = False

    def read(self, size: int, /) -> bytes:
        while not self._ended:
            if self._decompressor.eof:
                self._next_member()
                continue
            if not self._input and self._decompressor.needs_input:
                self._input = self._stream.read(_INPUT)
                if not self._input:
                    raise InvalidParameter(f"{self._compression}: unexpected EOF")
            try:
                data: bytes = self._decompressor.decompress(self._input, size)
            except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
                raise InvalidParameter(f"{self._compression}: damaged data: {error}") from error
            self._input = b""
            if data:
                return data
        return b""

    def _next_member(self) -> None:
        start = self._decompressor.unused_data.lstrip(b"\0")
        while len(start) < 6 and (more := self._stream.read(_INPUT)):
            start = (start + more).lstrip(b"\0")
        if not start:
            self._ended = True
            return
        if detect(start) != self._compression:
            raise InvalidParameter(f"{self._compression}: data after the end")
        self._decompressor = _NEW[self._compression]()
        self._input = start


_NEW: dict[str, Callable[[], Any]] = {
    "gzip": _Gzip,
    "xz": lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY_LIMIT),
    "bzip2": bz2.BZ2Decompressor,
}
