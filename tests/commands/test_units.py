from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.commands.units import ago, human_duration, human_size, parse_duration, parse_size, parse_time


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("512", 512),
        ("1k", 1024),
        ("512m", 512 << 20),
        ("2GB", 2 << 30),
        ("1.5kib", 1536),
        ("-1", -1),
    ],
)
def test_amounts_of_memory(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "m", "1x", "1 2", "-5", "1e3"])
def test_what_is_no_amount_of_memory(text: str) -> None:
    with pytest.raises(ValueError, match="invalid size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("1s", 10**9),
        ("1m30s", 90 * 10**9),
        ("1.5h", 5400 * 10**9),
        ("10ms", 10**7),
        ("-1s", -(10**9)),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "words"), [("5", "missing unit"), ("", "invalid"), ("x", "invalid"), ("1s x", "invalid")]
)
def test_what_is_no_duration(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_duration(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (1_984_217, "1.984MB"),
        (187_900_000, "187.9MB"),
        (2 * 10**9, "2GB"),
    ],
)
def test_sizes_are_printed_in_powers_of_ten(count: int, text: str) -> None:
    assert human_size(count) == text


def test_sizes_in_powers_of_two() -> None:
    assert human_size(25_275_920_384, base=1024.0) == "23.54GiB"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (120, "2 minutes"),
        (3600, "About an hour"),
        (5400, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (3 * 365 * 86400, "3 years"),
    ],
)
def test_time_spans_in_words(seconds: int, text: str) -> None:
    assert human_duration(seconds) == text


def test_ago() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert ago(parse_time("2026-01-01T23:59:00.123456789Z"), now=now) == "59 seconds ago"
    assert ago(now.timestamp() - 7200, now=now) == "2 hours ago"


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1)))
def test_times_come_back(moment: datetime) -> None:
    assert parse_time(moment.isoformat(timespec="microseconds") + "Z") == moment.replace(tzinfo=UTC)
