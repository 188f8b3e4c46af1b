"""The tar format: what Python's tarfile and GNU tar write is read, and the other way round."""

from __future__ import annotations

import io
import re
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.errors import InvalidParameter
from labkernel.engine.image.tarformat import (
    BLOCK,
    CHARACTER,
    DIRECTORY,
    END,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    Entry,
    TarReader,
    header,
    padding,
)

names = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name)


def read(data: bytes) -> list[tuple[Entry, bytes]]:
    reader = TarReader(io.BytesIO(data))
    found = []
    for entry in reader:
        content = b""
        while piece := reader.read(1 << 16):
            content += piece
        found.append((entry, content))
    return found


@given(
    name=names,
    kind=st.sampled_from([REGULAR, DIRECTORY, SYMLINK, HARD_LINK, CHARACTER]),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 1),
    gid=st.integers(0, 2**32 - 1),
    size=st.integers(0, 2**40),
    seconds=st.integers(-(2**40), 2**40),
    linkname=names,
    device=st.tuples(st.integers(0, 4095), st.integers(0, 2**20 - 1)),
    xattrs=st.dictionaries(
        st.from_regex(r"user\.[a-zA-Z0-9. ]{1,20}", fullmatch=True), st.binary(max_size=200), max_size=3
    ),
)
def test_a_header_is_read_as_it_was_written(
    name: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    seconds: int,
    linkname: bytes,
    device: tuple[int, int],
    xattrs: dict[str, bytes],
) -> None:
    entry = Entry(name, kind, mode, uid, gid, mtime=seconds * 1_000_000_000, xattrs=xattrs)
    if kind == REGULAR:
        entry.size = size
    if kind in (SYMLINK, HARD_LINK):
        entry.linkname = linkname
    if kind == CHARACTER:
        entry.major, entry.minor = device
    if kind == DIRECTORY:
        entry.name += b"/"
    data = header(entry)
    assert len(data) % BLOCK == 0
    assert next(iter(TarReader(io.BytesIO(data)))) == entry


@given(st.lists(st.tuples(st.text(min_size=1, max_size=150), st.binary(max_size=2000)), max_size=5))
def test_pythons_tarfile_reads_what_we_write(files: list[tuple[str, bytes]]) -> None:
    files = [(name.replace("\0", "x").strip("/") or "x", content) for name, content in files]
    files = [(name, content) for name, content in files if _encodes(name)]
    data = b""
    for name, content in files:
        data += header(Entry(name.encode(), size=len(content), xattrs={"user.a": b"1"})) + content
        data += bytes(padding(len(content)))
    with tarfile.open(fileobj=io.BytesIO(data + END)) as archive:
        members = archive.getmembers()
        assert [member.name for member in members] == [name for name, _ in files]
        for member, (_, content) in zip(members, files, strict=True):
            extracted = archive.extractfile(member)
            assert extracted is not None
            assert extracted.read() == content
            assert member.pax_headers["SCHILY.xattr.user.a"] == "1"


def _encodes(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@given(
    name=st.text("abcé/", min_size=1, max_size=300).map(lambda name: name.strip("/") or "x"),
    content=st.binary(max_size=1500),
    mtime=st.floats(0, 2**34).map(lambda value: round(value, 3)),
    uid=st.integers(0, 2**32),
)
def test_we_read_what_pythons_tarfile_writes(
    tar_format: int, name: str, content: bytes, mtime: float, uid: int
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as archive:
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.uid, info.mode = len(content), mtime, uid, 0o4751
        archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, name
        archive.addfile(link)
    (entry, data), (link_entry, _) = read(buffer.getvalue())
    assert (entry.name, data, entry.uid, entry.mode) == (name.encode(), content, uid, 0o4751)
    if tar_format == tarfile.PAX_FORMAT:
        assert abs(entry.mtime / 1e9 - mtime) < 0.001
    else:
        assert entry.mtime == int(mtime) * 1_000_000_000
    assert link_entry.linkname == name.encode()


def test_ustar_prefix_and_old_headers() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("p" * 120 + "/" + "n" * 90))
    assert [entry.name for entry, _ in read(buffer.getvalue())] == [b"p" * 120 + b"/" + b"n" * 90]
    old = bytearray(header(Entry(b"dir/")))
    old[156:157] = b"\0"
    old[257:265] = bytes(8)
    checksum = sum(old[:148]) + 8 * 32 + sum(old[156:])
    old[148:156] = b"%06o\0 " % checksum
    assert read(bytes(old))[0][0].type == DIRECTORY


def test_pax_global_headers_hold_for_what_follows() -> None:
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"uid": "77"}
    ) as archive:
        archive.addfile(tarfile.TarInfo("one"))
        archive.addfile(tarfile.TarInfo("two"))
    assert [entry.uid for entry, _ in read(buffer.getvalue())] == [77, 77]


def test_nothing_is_an_empty_archive() -> None:
    assert read(b"") == read(END) == []


GOOD = header(Entry(b"some/file", size=1000)) + bytes(1000) + bytes(padding(1000))


def _damaged(offset: int, value: bytes) -> bytes:
    block = bytearray(GOOD)
    block[offset : offset + len(value)] = value
    total = sum(block[:148]) + 8 * 32 + sum(block[156:512])
    block[148:156] = b"%06o\0 " % total
    return bytes(block)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (GOOD[:100], "unexpected EOF at byte 100"),
        (GOOD[:700], "unexpected EOF in entry 1 'some/file'"),
        (GOOD[:1511], "unexpected EOF in entry 1 'some/file'"),
        (b"x" * 512, "invalid tar header"),
        (_damaged(0, b"other")[:148] + GOOD[148:156] + _damaged(0, b"other")[156:], "invalid tar header"),
        (_damaged(124, b"99999999999\0"), "invalid tar header (number)"),
        (_damaged(124, b"\xff" * 12), "invalid tar header (size)"),
        (_damaged(156, b"Z"), "unhandled tar header type 90"),
        (_damaged(156, b"S"), "invalid tar header (sparse map)"),
        (_damaged(156, b"x")[:512] + b"7 path\n".ljust(1024, b"\0"), "invalid tar header (pax record)"),
        (_damaged(156, b"x")[:512] + b"999 path=x\n".ljust(1024, b"\0"), "invalid tar header (pax record)"),
        (_damaged(156, b"x")[:512] + b"0 path=x\n".ljust(1024, b"\0"), "invalid tar header (pax record)"),
        (_damaged(156, b"x"), "invalid tar header (pax record)"),
        (header(Entry(b"x", b"x", size=1 << 21)) + bytes(1 << 21), "longer than 1 MiB"),
        (header(Entry(b"x", b"L", size=10)) + b"n" * 10 + bytes(502), "unexpected EOF"),
    ],
)
def test_damage_is_named_with_its_place(data: bytes, message: str) -> None:
    with pytest.raises(InvalidParameter, match=re.escape(message)):
        read(data)


@pytest.mark.parametrize("size", [1512, 1520, 1536])
def test_what_fills_the_last_block_may_be_missing(size: int) -> None:
    """The docker client sends such archives, and Docker reads them."""
    assert [entry.name for entry in TarReader(io.BytesIO(GOOD[:size]))] == [b"some/file"]


@given(st.binary(max_size=3000), st.integers(0, 3000))
def test_any_bytes_are_an_archive_or_invalid(data: bytes, cut: int) -> None:
    for candidate in (data, GOOD[:cut] + data):
        try:
            read(candidate)
        except InvalidParameter:
            continue
