from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.api.streams import DETACH_KEYS, DetachFilter, frame, parse_detach_keys
from labkernel.engine.errors import InvalidParameter
from tests.support.http import frames


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=300))))
def test_frames_are_read_back(pieces: list[tuple[str, bytes]]) -> None:
    stream = b"".join(frame(name, data) for name, data in pieces)
    for number, name in ((1, "stdout"), (2, "stderr")):
        wanted = b"".join(data for stream_name, data in pieces if stream_name == name)
        assert b"".join(data for kind, data in frames(stream) if kind == number) == wanted


def test_a_frame() -> None:
    assert frame("stderr", b"ab") == b"\x02\0\0\0\0\0\0\x02ab"


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", DETACH_KEYS),
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("a", b"a"),
        ("ctrl-@,ctrl-[,ctrl-],ctrl-^,ctrl-_", b"\x00\x1b\x1d\x1e\x1f"),
        ("ctrl-\\,x", b"\x1cx"),
        (",", None),
        ("ctrl-", None),
        ("ctrl-pq", None),
        ("shift-p", None),
        ("ctrl-P", None),
        ("é", None),
    ],
)
def test_detach_keys(text: str, keys: bytes | None) -> None:
    if keys is None:
        with pytest.raises(InvalidParameter, match="Invalid detach keys"):
            parse_detach_keys(text)
    else:
        assert parse_detach_keys(text) == keys


@pytest.mark.parametrize(
    ("typed", "passed", "pressed"),
    [
        ([b"hello"], b"hello", False),
        ([b"\x10\x11"], b"", True),
        ([b"a\x10", b"\x11b"], b"a", True),
        ([b"a\x10", b"b"], b"a\x10b", False),
        ([b"\x10", b"\x10", b"\x11"], b"\x10", True),
        ([b"\x11\x10"], b"\x11", False),
    ],
)
def test_the_detach_keys_are_taken_out_of_the_input(typed: list[bytes], passed: bytes, pressed: bool) -> None:
    watch = DetachFilter(DETACH_KEYS)
    found = b""
    for data in typed:
        piece, done = watch.feed(data)
        found += piece
        if done:
            break
    assert (found, done) == (passed, pressed)


@given(st.lists(st.binary(max_size=6).map(lambda data: bytes(byte % 3 for byte in data)), max_size=8))
def test_how_the_input_is_cut_does_not_matter(pieces: list[bytes]) -> None:
    """All but what is held back, the beginning of the keys at the end of the input, reaches the process."""
    keys, whole = b"\x00\x01\x00\x02", b"".join(pieces)
    watch, found, pressed = DetachFilter(keys), b"", False
    for piece in pieces:
        data, pressed = watch.feed(piece)
        found += data
        if pressed:
            break
    assert pressed == (keys in whole)
    if pressed:
        assert found == whole[: whole.index(keys)]
    else:
        assert whole.startswith(found)
        assert keys.startswith(whole[len(found) :])
