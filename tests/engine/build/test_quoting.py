from __future__ import annotations

import pytest

from labkernel.engine.build.quoting import plain_list, quote, quote_list, quote_number
from labkernel.engine.timestamps import duration

SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", '"plain"'),
        ('say "hi"', r'"say \"hi\""'),
        ("it's", '"it\'s"'),
        ("a\\b\tc\n", r'"a\\b\tc\n"'),
        ("\x00\x7f", r'"\x00\x7f"'),
        ("é日", '"é日"'),
        ("\u200b\U000e0001", r'"\u200b\U000e0001"'),
    ],
)
def test_quote_is_gos(text: str, expected: str) -> None:
    assert quote(text) == expected


def test_lists() -> None:
    assert quote_list(["/bin/sh", "-c", 'a "b"']) == r'["/bin/sh" "-c" "a \"b\""]'
    assert quote_list([]) == "[]"
    assert plain_list(["/a", "/b c"]) == "[/a /b c]"


@pytest.mark.parametrize(("number", "expected"), [(0, r"'\x00'"), (3, r"'\x03'"), (39, r"'\''"), (65, "'A'")])
def test_an_integer_is_quoted_as_a_character(number: int, expected: str) -> None:
    assert quote_number(number) == expected


@pytest.mark.parametrize(
    ("nanoseconds", "expected"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1500, "1.5µs"),
        (2_000_000, "2ms"),
        (1_500_000_000, "1.5s"),
        (90 * SECOND, "1m30s"),
        (3600 * SECOND, "1h0m0s"),
        (9000 * SECOND + 1, "2h30m0.000000001s"),
        (-SECOND, "-1s"),
    ],
)
def test_durations(nanoseconds: int, expected: str) -> None:
    assert duration(nanoseconds) == expected
