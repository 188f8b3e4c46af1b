from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.commands import CommandError, Recorder
from labkernel.commands.attached import Capture, DetachFilter, key_sequence
from labkernel.commands.results import Finished


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("a,b", b"ab"),
        ("ctrl-@", b"\x00"),
        ("ctrl-[,x", b"\x1bx"),
        ("ctrl-\\", b"\x1c"),
    ],
)
def test_detach_keys_as_they_are_written(text: str, keys: bytes) -> None:
    assert key_sequence(text) == keys


@pytest.mark.parametrize("text", ["", "ctrl-", "ctrl-pp", "ab", "ctrl-p,,", "alt-x"])
def test_what_are_no_detach_keys(text: str) -> None:
    with pytest.raises(CommandError, match="invalid detach keys"):
        key_sequence(text)


@pytest.mark.parametrize(
    ("typed", "passed", "detached"),
    [
        ([b"ls\n"], b"ls\n", False),
        ([b"a\x10\x11b"], b"a", True),
        ([b"a\x10", b"\x11"], b"a", True),
        ([b"\x10", b"x"], b"\x10x", False),
        ([b"\x10\x10\x11"], b"\x10", True),
        ([b"\x11\x10"], b"\x11", False),
    ],
)
def test_detach_keys_are_seen_and_not_passed_on(typed: list[bytes], passed: bytes, detached: bool) -> None:
    watch = DetachFilter(b"\x10\x11")
    results = [watch.feed(piece) for piece in typed]
    assert b"".join(data for data, _ in results) == passed
    assert any(seen for _, seen in results) == detached


@given(st.lists(st.binary(max_size=5)))
def test_nothing_typed_is_lost(pieces: list[bytes]) -> None:
    watch = DetachFilter(b"\x10\x11")
    passed = b""
    for piece in pieces:
        data, detached = watch.feed(piece)
        passed += data
        if detached:
            assert b"".join(pieces).startswith(passed + b"\x10\x11")
            return
    assert passed + watch.held == b"".join(pieces)


def test_output_is_kept_up_to_a_limit_and_shown_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Finished, "KEPT", 5)
    console = Recorder()
    capture = Capture(console)
    capture.take(1, b"1234")
    capture.take(1, b"5678")
    capture.take(2, b"err")
    assert (bytes(capture.stdout), bytes(capture.stderr)) == (b"12345", b"err")
    assert (console.stdout, console.stderr) == (b"12345678", b"err")
