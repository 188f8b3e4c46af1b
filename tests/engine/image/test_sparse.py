"""Sparse files in archives, as GNU tar writes them in all its versions."""

from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.errors import InvalidParameter
from labkernel.engine.image.changeset import extract_tar
from labkernel.engine.image.sparse import Content, paired
from labkernel.engine.image.tarformat import END, Entry, TarReader, header, padding

FORMATS = [
    ["--format=gnu"],
    ["--format=pax", "--sparse-version=0.0"],
    ["--format=pax", "--sparse-version=0.1"],
    ["--format=pax", "--sparse-version=1.0"],
]


@pytest.fixture
def sparse_files(place: Path) -> Path:
    """One with more pieces than a header has room for, one that is all hole, one with data at its end, a
    plain one."""
    top = place / "top"
    top.mkdir()
    with (top / "many").open("wb") as many, (top / "end").open("wb") as end:
        many.truncate(5_000_000)
        for number in range(40):
            many.seek(100_000 * number + 4096)
            many.write(b"data%d" % number * 100)
        end.seek(1_000_000)
        end.write(b"end")
    with (top / "hole").open("wb") as hole:
        hole.truncate(3_000_000)
    (top / "plain").write_bytes(b"plain")
    return top


@pytest.mark.parametrize("options", FORMATS, ids=" ".join)
def test_gnu_tars_sparse_files(place: Path, sparse_files: Path, options: list[str]) -> None:
    command = ["tar", "--create", "--sparse", *options, "--directory", str(sparse_files), "."]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    assert len(data) < 1_000_000
    copy = place / "copy"
    copy.mkdir()
    extracted = extract_tar(io.BytesIO(data), copy)
    assert extracted.size == 5_000_000 + 1_000_003 + 3_000_000 + 5
    for original in sparse_files.iterdir():
        assert (copy / original.name).read_bytes() == original.read_bytes()
    assert (copy / "hole").stat().st_blocks == 0
    assert (copy / "many").stat().st_blocks * 512 < 1_000_000

    # Read as a stream the holes are zeros.
    reader = TarReader(io.BytesIO(data))
    for entry in reader:
        content = b""
        while piece := reader.read(70_000):
            content += piece
        if entry.name == b"./many":
            assert content == (sparse_files / "many").read_bytes()


@given(
    pieces=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=6),
    tail=st.integers(0, 50),
)
def test_pieces_add_up(pieces: list[tuple[int, int]], tail: int) -> None:
    position, segments, expected = 0, [], ""
    for hole, length in pieces:
        segments.append((position + hole, length))
        position += hole + length
        expected += "0" * hole + "x" * length
    content = Content(segments, position + tail, sum(length for _, length in segments))
    found = ""
    while (hole := content.hole()) or content.data():
        count = hole or content.data()
        step = max(count // 2, 1)
        found += ("0" if hole else "x") * step
        content.advance(step)
    assert found == expected + "0" * tail


@pytest.mark.parametrize(
    ("segments", "size", "stored"),
    [
        ([(0, 10)], 5, 10),
        ([(0, 10), (5, 10)], 100, 20),
        ([(10, 5), (0, 5)], 100, 10),
        ([(0, 5)], 100, 6),
        ([(-1, 5)], 100, 5),
        ([(0, -5), (0, 10)], 100, 5),
    ],
)
def test_maps_that_make_no_sense(segments: list[tuple[int, int]], size: int, stored: int) -> None:
    with pytest.raises(ValueError, match=r"negative|overlapping|size"):
        Content(segments, size, stored)


def test_a_map_of_odd_length() -> None:
    with pytest.raises(ValueError, match="odd"):
        paired([1, 2, 3])


def archive(records: dict[str, str], content: bytes) -> bytes:
    """An archive with one file, described by pax records of 10 to 99 bytes."""
    body = b""
    for key, value in records.items():
        rest = f" {key}={value}\n".encode()
        body += b"%d%b" % (len(rest) + 2, rest)
    extended = header(Entry(b"x", b"x", size=len(body))) + body + bytes(padding(len(body)))
    return extended + header(Entry(b"f", size=len(content))) + content + bytes(padding(len(content))) + END


@pytest.mark.parametrize(
    ("records", "content"),
    [
        ({"GNU.sparse.map": "0,5"}, b"12345"),
        ({"GNU.sparse.map": "0,x", "GNU.sparse.size": "5"}, b"12345"),
        ({"GNU.sparse.map": "0,5,7", "GNU.sparse.size": "50"}, b"12345"),
        ({"GNU.sparse.map": "0,9", "GNU.sparse.size": "50"}, b"12345"),
        ({"GNU.sparse.map": "0,5", "GNU.sparse.size": "4"}, b"12345"),
        ({"GNU.sparse.major": "1", "GNU.sparse.realsize": "50"}, b"12345"),
        ({"GNU.sparse.major": "1", "GNU.sparse.realsize": "50"}, b"9\n".ljust(512, b"\0")),
        ({"GNU.sparse.major": "1", "GNU.sparse.realsize": "50"}, b"-1\n1\n".ljust(512, b"\0")),
        ({"GNU.sparse.major": "1", "GNU.sparse.realsize": "50"}, b"x\n".ljust(512, b"\0")),
    ],
)
def test_bad_maps_in_archives(records: dict[str, str], content: bytes) -> None:
    with pytest.raises(InvalidParameter, match=re.escape("invalid tar header (sparse map)")):
        list(TarReader(io.BytesIO(archive(records, content))))


def test_an_enormous_hole_costs_nothing(place: Path) -> None:
    data = archive({"GNU.sparse.map": "0,5", "GNU.sparse.size": str(1 << 40)}, b"12345")
    extracted = extract_tar(io.BytesIO(data), place)
    assert extracted.size == 1 << 40
    assert (place / "f").stat().st_size == 1 << 40
    assert (place / "f").stat().st_blocks <= 8
