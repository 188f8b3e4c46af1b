"""Compressed streams: every kind the standard tools write, and damage."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.errors import InvalidParameter
from labkernel.engine.image.compression import decompressed, detect

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
TEXT = b"a layer's tar\n" * 20_000


class Trickle(io.BytesIO):
    """A stream that gives few bytes at a time, as a socket may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size if size and size > 0 else 7, 7))


def read_all(data: bytes, size: int = 1000, source: type[io.BytesIO] = io.BytesIO) -> bytes:
    plain = decompressed(source(data))
    found = b""
    while piece := plain.read(size):
        assert len(piece) <= size
        found += piece
    return found


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_detected_and_read(kind: str) -> None:
    data = COMPRESSORS[kind](TEXT)
    assert detect(data) == kind
    assert read_all(data) == TEXT
    assert read_all(data, source=Trickle) == TEXT


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_members_one_after_the_other_are_one_stream(kind: str) -> None:
    assert read_all(COMPRESSORS[kind](b"one ") + COMPRESSORS[kind](TEXT)) == b"one " + TEXT


@pytest.mark.parametrize("kind", ["gzip", "xz", "bzip2"])
def test_damage(kind: str) -> None:
    data = COMPRESSORS[kind](TEXT)
    with pytest.raises(InvalidParameter, match=f"{kind}: unexpected EOF"):
        read_all(data[:-10])
    middle = len(data) // 2
    with pytest.raises(InvalidParameter, match=f"{kind}: "):
        read_all(data[:middle] + b"\xff\xff\xff\xff" + data[middle + 4 :])
    with pytest.raises(InvalidParameter, match=f"{kind}: data after the end"):
        read_all(data + b"trailing")


def test_damaged_zstd() -> None:
    data = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(TEXT))
    data[-1] ^= 0xFF
    with pytest.raises(InvalidParameter, match="zstd: damaged data"):
        read_all(bytes(data))


@given(st.binary(max_size=100))
def test_plain_data_is_handed_on(data: bytes) -> None:
    if detect(data) is None:
        assert read_all(data, 10) == data


def test_little_is_expanded_at_a_time() -> None:
    bomb = gzip.compress(bytes(200 << 20), compresslevel=1)
    plain = decompressed(io.BytesIO(bomb))
    assert len(plain.read(1 << 16)) <= 1 << 16
