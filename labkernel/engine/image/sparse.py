"""Sparse files in archives: which parts of a file the archive holds, the rest being zeros.

Source: GNU tar's manual, "Storing Sparse Files": the old GNU format and pax versions 0.0, 0.1 and 1.0. Pure:
no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

_OLD_MAP, _OLD_ENTRY, _OLD_HEADER_ENTRIES, _OLD_EXTENSION_ENTRIES = 386, 24, 4, 21
_OLD_IS_EXTENDED, _OLD_REAL_SIZE, _EXTENSION_IS_EXTENDED = 482, 483, 504

Segments = list[tuple[int, int]]


class Content:
    """The content of a sparse file of `size` bytes, front to back, in pieces of data and holes."""

    def __init__(self, segments: Segments, size: int, stored: int) -> None:
        """`segments` are offsets and lengths of data; `stored`: the bytes that the archive has for them.
        Raises ValueError if these do not go together."""
        ends = [(offset, offset + length) for offset, length in segments]
        if any(offset < 0 or length < 0 for offset, length in segments):
            raise ValueError("negative")
        if any(end > start for (_, end), (start, _) in pairwise(ends)) or (ends and ends[-1][1] > size):
            raise ValueError("overlapping")
        if sum(length for _, length in segments) != stored:
            raise ValueError("size")
        self._segments = [(offset, length) for offset, length in reversed(segments) if length]
        self._size = size
        self._position = 0

    def hole(self) -> int:
        """The number of zeros that come next."""
        until = self._segments[-1][0] if self._segments else self._size
        return max(until - self._position, 0)

    def data(self) -> int:
        """The number of bytes of data that come next, if no hole does."""
        if not self._segments:
            return 0
        offset, length = self._segments[-1]
        return offset + length - self._position

    def advance(self, count: int) -> None:
        """So many bytes of the hole or the data that come next have been passed."""
        self._position += count
        if self._segments and self._position == sum(self._segments[-1]):
            self._segments.pop()


def numbers_of_old_header(block: bytes) -> tuple[list[bytes], bytes, bool]:
    """The map's fields in a header of the old format, the field of the file's size, and whether the map goes
    on in further blocks."""
    return (
        list(_fields(block, _OLD_MAP, _OLD_HEADER_ENTRIES)),
        block[_OLD_REAL_SIZE : _OLD_REAL_SIZE + 12],
        block[_OLD_IS_EXTENDED] != 0,
    )


def numbers_of_extension(block: bytes) -> tuple[list[bytes], bool]:
    """The map's fields in one of those further blocks, and whether there are more."""
    return list(_fields(block, 0, _OLD_EXTENSION_ENTRIES)), block[_EXTENSION_IS_EXTENDED] != 0


def _fields(block: bytes, start: int, count: int) -> Iterator[bytes]:
    for number in range(count):
        entry = block[start + number * _OLD_ENTRY : start + (number + 1) * _OLD_ENTRY]
        if entry[:1] == b"\0":
            return
        yield entry[:12]
        yield entry[12:]


def paired(numbers: list[int]) -> Segments:
    """Offsets and lengths that come one after the other. Raises ValueError."""
    if len(numbers) % 2:
        raise ValueError("odd")
    return list(zip(numbers[::2], numbers[1::2], strict=True))
