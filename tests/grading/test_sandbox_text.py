"""What is kept of what a cell prints, as text that a reader sees."""

from __future__ import annotations

import os
import time

import pytest

from labkernel.grading.sandbox.sandboxes import _Text


def kept(data: bytes, limit: int = 64 << 10) -> _Text:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    text = _Text(limit)
    try:
        for start in range(0, len(data), 4096):
            os.write(writing, data[start : start + 4096])
            text.read_all(reading)
    finally:
        os.close(reading)
        os.close(writing)
    return text


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ("plain\nlines ü\n", "plain\nlines ü\n"),
        ("10%\r50%\r100%\ndone", "100%\ndone"),
        ("windows\r\nlines\r\n", "windows\nlines\n"),
        ("last\r", "last"),
        ("\x1b[1;31mred\x1b[0m \x1b]0;title\x07x\x00\x07", "red x"),
    ],
)
def test_shown(data: str, shown: str) -> None:
    assert kept(data.encode()).shown == shown


def test_what_is_no_text() -> None:
    assert kept(b"\xff\xfe").shown == "\ufffd\ufffd"


def test_cut() -> None:
    text = kept(b"y" * 10_000, 100)
    assert (len(text.shown), text.cut, text.size) == (100, True, 10_000)
    assert not kept(b"y" * 100, 100).cut


@pytest.mark.parametrize("piece", [b"y", b"\r", b"\x1b[", b"\x1b]", b"y\r", b"\x1b[0;"])
def test_no_output_keeps_us_busy(piece: bytes) -> None:
    text = kept(piece * 20_000)
    begun = time.process_time()
    assert text.shown is not None
    assert time.process_time() - begun < 0.5
