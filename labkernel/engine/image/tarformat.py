"""The tar format: headers to entries and entries to headers. Knows no file system.

Sources: POSIX.1-2017 pax(1) ("ustar Interchange Format" and "pax Header Block"), GNU tar's manual ("Basic Tar
Format": long names and base-256 numbers), and `SCHILY.xattr.` for extended attributes as the OCI image-spec's
layer.md has it. The writer is deterministic: the same entry always gives the same bytes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol, cast

from labkernel.engine.errors import InvalidParameter
from labkernel.engine.image import sparse

BLOCK = 512
END = bytes(2 * BLOCK)

REGULAR, HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = (
    b"0",
    b"1",
    b"2",
    b"3",
    b"4",
    b"5",
    b"6",
)
_TYPES = {REGULAR, HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO}
_SPARSE = b"S"

# Go's archive/tar, which Docker reads with, takes no longer extended header either.
_EXTENSION_LIMIT = 1 << 20
_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12x")
_XATTR_KEY = b"SCHILY.xattr."


class Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(slots=True)
class Entry:
    """One member of an archive. Names are bytes, as in the archive; times are Unix times in nanoseconds."""

    name: bytes
    type: bytes = REGULAR
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    linkname: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: dict[str, bytes] = field(default_factory=dict)


def padding(size: int) -> int:
    """How many zero bytes follow `size` bytes of content."""
    return -size % BLOCK


# --- writing


def header(entry: Entry) -> bytes:
    """The header of an entry: one ustar block, after a pax extended header where ustar has no room."""
    records: list[tuple[bytes, bytes]] = []
    name, linkname = entry.name, entry.linkname
    if len(name) > 100:
        records.append((b"path", name))
        name = name[:100]
    if len(linkname) > 100:
        records.append((b"linkpath", linkname))
        linkname = linkname[:100]
    seconds = entry.mtime // 1_000_000_000
    numbers = {
        b"uid": (entry.uid, 7),
        b"gid": (entry.gid, 7),
        b"size": (entry.size, 11),
        b"mtime": (seconds, 11),
    }
    fields: dict[bytes, int] = {}
    for key, (value, digits) in numbers.items():
        fits = 0 <= value < 8**digits
        if not fits:
            records.append((key, b"%d" % value))
        fields[key] = value if fits else 0
    if not entry.xattrs and not records:
        return _ustar(entry, name, linkname, fields)
    records += [(_XATTR_KEY + key.encode(), value) for key, value in entry.xattrs.items()]
    body = b"".join(_pax_record(key, value) for key, value in sorted(records))
    extended = Entry(name=b"PaxHeaders.0/" + entry.name.rstrip(b"/").rpartition(b"/")[2][:80], type=b"x")
    extension_fields = {b"uid": 0, b"gid": 0, b"size": len(body), b"mtime": 0}
    return (
        _ustar(extended, extended.name, b"", extension_fields)
        + body
        + bytes(padding(len(body)))
        + _ustar(entry, name, linkname, fields)
    )


def _ustar(entry: Entry, name: bytes, linkname: bytes, fields: dict[bytes, int]) -> bytes:
    block = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0        %b%bustar\00000%b%07o\0%07o\0%b" % (
        name.ljust(100, b"\0"),
        entry.mode & 0o7777,
        fields[b"uid"],
        fields[b"gid"],
        fields[b"size"],
        fields[b"mtime"],
        entry.type,
        linkname.ljust(100, b"\0"),
        bytes(64),
        entry.major,
        entry.minor,
        bytes(167),
    )
    return b"%b%06o\0 %b" % (block[:148], sum(block), block[156:])


def _pax_record(key: bytes, value: bytes) -> bytes:
    """`length key=value\\n`, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) + rest != length:
        length += 1
    return b"%d %b=%b\n" % (length, key, value)


# --- reading


class TarReader:
    """Reads an archive from a stream, front to back: iterate for entries, `read` the present entry's content.

    With `seekable` content that is not asked for is skipped by seeking.
    Raises InvalidParameter that says what is wrong with which entry, and where; a stream that ends early is
    "unexpected EOF", as Docker says.
    """

    def __init__(self, stream: Reader, *, seekable: bool = False) -> None:
        self._stream = stream
        self._seekable = seekable
        self.offset = 0
        self.number = 0
        self.entry: Entry | None = None
        self._left = self._stored = 0
        self._sparse: sparse.Content | None = None
        self._globals: dict[bytes, bytes] = {}

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self._next()) is not None:
            yield entry

    def read(self, size: int) -> bytes:
        """Up to `size` bytes of the present entry's content; b"" at its end."""
        if self._sparse is None:
            return self._read_stored(size)
        if hole := self._sparse.hole():
            data = bytes(min(size, hole))
        else:
            data = self._read_stored(min(size, self._sparse.data()))
        self._sparse.advance(len(data))
        return data

    def skip_hole(self) -> int:
        """Pass over the zeros that come next and are not in the archive; gives their number."""
        hole = self._sparse.hole() if self._sparse is not None else 0
        if self._sparse is not None:
            self._sparse.advance(hole)
        return hole

    def _read_stored(self, size: int) -> bytes:
        if self._left == 0 or size == 0:
            return b""
        data = self._stream.read(min(size, self._left))
        if not data:
            raise self.error("unexpected EOF")
        self.offset += len(data)
        self._left -= len(data)
        return data

    def error(self, why: str) -> InvalidParameter:
        """An error that names the present entry and where in the archive it is."""
        if self.entry is None:
            where = f"at byte {self.offset}"
        else:
            name = self.entry.name.decode(errors="backslashreplace")
            shown = name if len(name) <= 200 else name[:200] + "..."
            where = f"in entry {self.number} {shown!r} (before byte {self.offset})"
        return InvalidParameter(f"invalid tar archive: {why} {where}")

    def _next(self) -> Entry | None:
        if self.entry is not None:
            self._skip(self._left)
            whole = padding(self._stored)
            # Docker's client leaves it out behind the last entry when it changes an archive on the way.
            if whole and len(self._exactly(whole, partial=True)) < whole:
                return None
            self.entry = self._sparse = None
        records: dict[bytes, bytes] = {}
        long_name = long_link = None
        while True:
            block = self._block()
            if block is None:
                if records or long_name is not None or long_link is not None:
                    raise self.error("unexpected EOF")
                return None
            entry, flag = self._parse(block)
            if flag == b"x":
                records = self._pax(entry)
            elif flag == b"g":
                self._globals |= self._pax(entry)
            elif flag == b"L":
                long_name = self._extension(entry).rstrip(b"\0")
            elif flag == b"K":
                long_link = self._extension(entry).rstrip(b"\0")
            else:
                break
        self.number += 1
        self.entry = entry
        if long_name is not None:
            entry.name = long_name
        if long_link is not None:
            entry.linkname = long_link
        records = {**self._globals, **records}
        self._apply(records, entry)
        if flag in (b"\0", b"7"):
            entry.type = DIRECTORY if entry.name.endswith(b"/") else REGULAR
        elif flag == _SPARSE:
            entry.type = REGULAR
        elif flag not in _TYPES:
            raise self.error(f"unhandled tar header type {flag[0]}")
        if entry.type != REGULAR:
            # Only regular files have content; some writers put a link's target size here (pax(1)).
            entry.size = 0
        if b"\0" in entry.name or b"\0" in entry.linkname:
            raise self.error("a name with a NUL byte")
        self._left = self._stored = entry.size
        if flag == _SPARSE:
            self._old_sparse(block, entry)
        elif entry.type == REGULAR and any(key.startswith(b"GNU.sparse.") for key in records):
            self._pax_sparse(records, entry)
        return entry

    def _old_sparse(self, block: bytes, entry: Entry) -> None:
        fields, real_size, goes_on = sparse.numbers_of_old_header(block)
        while goes_on:
            more, goes_on = sparse.numbers_of_extension(self._exactly(BLOCK))
            fields += more
            if len(fields) * 12 > _EXTENSION_LIMIT:
                raise self.error("extended header longer than 1 MiB")
        self._set_sparse([self._number(field) for field in fields], self._number(real_size), entry)

    def _pax_sparse(self, records: dict[bytes, bytes], entry: Entry) -> None:
        try:
            entry.name = records.get(b"GNU.sparse.name", entry.name)
            size = int(records.get(b"GNU.sparse.realsize") or records[b"GNU.sparse.size"])
            if records.get(b"GNU.sparse.major", b"0") == b"0":
                numbers = [
                    int(number) for number in records.get(b"GNU.sparse.map", b"").split(b",") if number
                ]
            else:
                numbers = self._sparse_map()
        except (KeyError, ValueError):
            raise self.error("archive/tar: invalid tar header (sparse map)") from None
        self._set_sparse(numbers, size, entry)

    def _sparse_map(self) -> list[int]:
        """The map of version 1.0: lines of decimal numbers, the first their count, filling whole blocks.
        Raises ValueError."""
        data = b""
        while True:
            lines = data.split(b"\n")
            if len(lines) > 1 and len(lines) - 1 > 2 * int(lines[0]):
                return [int(line) for line in lines[1 : 2 * int(lines[0]) + 1]]
            if len(data) > _EXTENSION_LIMIT or self._left < BLOCK:
                raise ValueError("no end")
            data += self._exactly(BLOCK)
            self._left -= BLOCK

    def _set_sparse(self, numbers: list[int], size: int, entry: Entry) -> None:
        try:
            self._sparse = sparse.Content(sparse.paired(numbers), size, self._left)
        except ValueError:
            raise self.error("archive/tar: invalid tar header (sparse map)") from None
        entry.size = self._size(size)

    def _block(self) -> bytes | None:
        """The next header block; None at the archive's end (zero blocks, or the stream's end)."""
        block = self._exactly(BLOCK, eof_allowed=True)
        if not block:
            return None
        if block.count(0) == BLOCK:
            # What follows is padding up to the record size; it is part of the layer, so it is read for the
            # digest.
            while data := self._stream.read(1 << 16):
                self.offset += len(data)
            return None
        return block

    def _exactly(self, size: int, *, eof_allowed: bool = False, partial: bool = False) -> bytes:
        data = self._stream.read(size)
        while 0 < len(data) < size:
            more = self._stream.read(size - len(data))
            if not more:
                break
            data += more
        self.offset += len(data)
        if len(data) < size and not partial and (data or not eof_allowed):
            raise self.error("unexpected EOF")
        return data

    def _skip(self, size: int) -> None:
        if self._seekable and size > 1:
            # All but the last byte, which is read to see that it is there.
            cast(BinaryIO, self._stream).seek(size - 1, os.SEEK_CUR)
            self.offset += size - 1
            size = 1
        while size:
            size -= len(self._exactly(min(size, 1 << 20)))

    def _parse(self, block: bytes) -> tuple[Entry, bytes]:
        (name, mode, uid, gid, size, mtime, checksum, flag, linkname, magic, *_, major, minor, prefix) = (
            _HEADER.unpack(block)
        )
        total = self._number(checksum)
        # Summed with the checksum's own field as spaces; old writers summed signed bytes (pax(1)).
        if total != sum(block) - sum(checksum) + 8 * 0x20:
            blanked = block[:148] + b"        " + block[156:]
            if total != sum(byte - 256 if byte > 127 else byte for byte in blanked):
                raise self.error("archive/tar: invalid tar header (checksum)")
        name = name.split(b"\0", 1)[0]
        if magic == b"ustar\0" and prefix[0]:
            name = prefix.split(b"\0", 1)[0] + b"/" + name
        is_device = flag in (CHARACTER, BLOCK_DEVICE)
        entry = Entry(
            name=name,
            type=flag,
            mode=self._number(mode) & 0o7777,
            uid=self._number(uid),
            gid=self._number(gid),
            size=self._size(self._number(size)),
            mtime=self._number(mtime) * 1_000_000_000,
            linkname=linkname.split(b"\0", 1)[0],
            major=self._number(major) if is_device else 0,
            minor=self._number(minor) if is_device else 0,
        )
        return entry, flag

    def _number(self, data: bytes) -> int:
        """An octal field, or GNU's base-256: the first bit set, then a two's complement number."""
        if data[0] & 0x80:
            value = int.from_bytes(data, "big") & ~(1 << (8 * len(data) - 1))
            return value - (1 << (8 * len(data) - 1)) if data[0] & 0x40 else value
        text = data.split(b"\0", 1)[0].strip(b" ")
        if not text:
            return 0
        try:
            # isdigit, for int() takes signs, underscores and prefixes too.
            if not text.isdigit():
                raise ValueError(text)
            return int(text, 8)
        except ValueError:
            raise self.error("archive/tar: invalid tar header (number)") from None

    def _size(self, size: int) -> int:
        if not 0 <= size < 1 << 63:
            raise self.error("archive/tar: invalid tar header (size)")
        return size

    def _extension(self, entry: Entry) -> bytes:
        if entry.size > _EXTENSION_LIMIT:
            raise self.error("extended header longer than 1 MiB")
        data = self._exactly(entry.size)
        self._skip(padding(entry.size))
        return data

    def _pax(self, entry: Entry) -> dict[bytes, bytes]:
        data = self._extension(entry)
        records: dict[bytes, bytes] = {}
        position = 0
        while position < len(data):
            space = data.find(b" ", position, position + 20)
            digits = data[position:space] if space > 0 else b""
            end = position + (int(digits) if digits.isdigit() else 0)
            key, equals, value = data[space + 1 : end - 1].partition(b"=")
            if end <= space or end > len(data) or data[end - 1 : end] != b"\n" or not equals or not key:
                raise self.error("archive/tar: invalid tar header (pax record)")
            if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
                # Version 0.0 repeats these, where 0.1 has a list.
                key, value = (
                    b"GNU.sparse.map",
                    b",".join([*filter(None, [records.get(b"GNU.sparse.map")]), value]),
                )
            records[key] = value
            position = end
        return records

    def _apply(self, records: dict[bytes, bytes], entry: Entry) -> None:
        """Put pax records over the fields of the ustar header; an empty value means the ustar field holds."""
        for key, value in records.items():
            if key.startswith(_XATTR_KEY):
                entry.xattrs[key[len(_XATTR_KEY) :].decode(errors="surrogateescape")] = value
                continue
            if not value:
                continue
            try:
                if key == b"path":
                    entry.name = value
                elif key == b"linkpath":
                    entry.linkname = value
                elif key == b"size":
                    entry.size = self._size(int(value))
                elif key == b"uid":
                    entry.uid = int(value)
                elif key == b"gid":
                    entry.gid = int(value)
                elif key == b"mtime":
                    whole, _, fraction = value.partition(b".")
                    nanoseconds = int(fraction[:9].ljust(9, b"0")) if fraction else 0
                    entry.mtime = int(whole or b"0") * 1_000_000_000 + (
                        -nanoseconds if whole.startswith(b"-") else nanoseconds
                    )
            except ValueError:
                raise self.error(f"archive/tar: invalid tar header (pax {key.decode()})") from None
