"""From a container's log to lines that may be shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.commands import CommandError
from labkernel.notebook.views.log_lines import ERR, KEPT, LONGEST, OUT, Lines, Splitter, Written, clean
from labkernel.notebook.views.logs_view import LogsRequest, read_words

AT = b"2026-01-31T12:00:00.000000007Z "
NANOSECONDS = 1769860800 * 10**9 + 7


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("\x1b[1;31mred\x1b[0m and not", "red and not"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;http://there\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b(Btext\x1b", "text"),
        ("\x1b]never ended", ""),
        ("10%\r20%\r30%", "30%"),
        ("from a terminal\r", "from a terminal"),
        ("a\tb", "a       b"),
        ("bell\x07 null\x00 delete\x7f c1\x9b", "bell null delete c1"),
        ("safe\u202eelif\u2066", "safeelif"),
        ("two\u2028lines", "twolines"),
        ("<b>bold</b>", "<b>bold</b>"),
        ("größer", "größer"),
    ],
)
def test_what_is_left_of_a_line(text: str, expected: str) -> None:
    assert clean(text) == expected


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in clean(text))


def test_a_long_line_is_cut() -> None:
    assert len(clean("x" * 10_000)) == LONGEST


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([(1, AT + b"one\n" + AT + b"two\n")], [(OUT, "one"), (OUT, "two")]),
        ([(1, AT + b"o"), (2, AT + b"err\n"), (1, b"ne\n")], [(ERR, "err"), (OUT, "one")]),
        ([(1, AT + b"no end")], []),
        ([(1, AT + b"\n")], [(OUT, "")]),
        ([(1, b"no time\n" + AT + b"time\n")], [(OUT, "time")]),
        ([(1, AT + b"\xff\xfe\n")], [(OUT, "\ufffd\ufffd")]),
        ([(0, AT + b"terminal\r\n")], [(OUT, "terminal")]),
        ([(1, b"2026-99-99T12:00:00Z x\n")], []),
    ],
)
def test_pieces_become_lines(pieces: list[tuple[int, bytes]], expected: list[tuple[str, str]]) -> None:
    splitter = Splitter()
    lines = [line for stream, data in pieces for line in splitter.feed(stream, data)]
    assert [(line.stream, line.text) for line in lines] == expected
    assert all(line.time == NANOSECONDS for line in lines)


@given(st.lists(st.binary(max_size=50)))
def test_how_a_log_is_cut_into_pieces_makes_no_difference(pieces: list[bytes]) -> None:
    whole, parts = Splitter(), Splitter()
    expected = list(whole.feed(1, b"".join(pieces)))
    assert [line for piece in pieces for line in parts.feed(1, piece)] == expected


def test_a_line_without_an_end_takes_no_memory() -> None:
    splitter = Splitter()
    for _ in range(100):
        assert list(splitter.feed(1, b"x" * 100_000)) == []
    assert len(splitter._rest[1]) < 10_000
    assert [line.text for line in splitter.feed(1, b"\n" + AT + b"next\n")] == ["next"]


def written(text: str) -> Written:
    return Written(OUT, 0, text)


def test_the_last_lines_are_kept_and_numbered() -> None:
    lines = Lines(most=3)
    lines.add(0, [written("a"), written("b")])
    lines.add(1, [written("c"), written("d")])
    assert [(line.number, line.container, line.text) for line in lines.all()] == [
        (2, 0, "b"),
        (3, 1, "c"),
        (4, 1, "d"),
    ]


def test_all_lines_together_have_a_limit() -> None:
    lines = Lines(most=2000)
    lines.add(0, [written("x" * LONGEST)] * 1000)
    assert sum(len(line.text) for line in lines.all()) <= KEPT
    assert lines.all()[-1].number == 1000


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", LogsRequest([], help=True)),
        ("--help", LogsRequest([], help=True)),
        ("web", LogsRequest(["web"], 200, True)),
        ("a b a", LogsRequest(["a", "b"], 200, True)),
        ("--tail 5 a", LogsRequest(["a"], 5, True)),
        ("-n5 a --no-follow", LogsRequest(["a"], 5, False)),
    ],
)
def test_the_line_of_the_magic(words: str, expected: LogsRequest) -> None:
    assert read_words(words.split()) == expected


@pytest.mark.parametrize("words", ["--tail x a", "--tail 0 a", "--tail 99999 a", "--follow a"])
def test_a_line_that_cannot_be_read(words: str) -> None:
    with pytest.raises(CommandError):
        read_words(words.split())
