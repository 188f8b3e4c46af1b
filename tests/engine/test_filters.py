from __future__ import annotations

from datetime import UTC, datetime

import pytest

from labkernel.engine.errors import InvalidParameter
from labkernel.engine.filters import labels_pass, moment, truth, until

_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("10s", 10),
        ("1m30s", 90),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("250ms", 0.25),
        ("24h", 86400),
    ],
)
def test_how_long_ago(text: str, ago: float) -> None:
    assert moment(text, _NOW) == int(_NOW.timestamp() - ago) * _SECOND


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2026-01-02T03:04:05Z", _NOW),
        ("2026-01-02T03:04:05", _NOW),
        ("2026-01-02T04:04:05+01:00", _NOW),
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ("2026-01-02T03:04", datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
    ],
)
def test_times(text: str, when: datetime) -> None:
    assert moment(text) == int(when.timestamp()) * _SECOND


def test_seconds_since_1970() -> None:
    assert moment("1577836800.000000005") == 1577836800 * _SECOND + 5
    assert moment("9" * 18) == 253_402_300_799 * _SECOND
    assert moment("999999999999h") == 0


@pytest.mark.parametrize("text", ["", "soon", "1h30x", "h", "-1", "1e5", "2026-13-01"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(InvalidParameter):
        moment(text)


def test_until() -> None:
    assert until({}) is None
    assert until({"until": ["5"]}) == 5 * _SECOND
    with pytest.raises(InvalidParameter, match="more than one"):
        until({"until": ["5", "6"]})


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ({}, True),
        ({"label": ["a"]}, True),
        ({"label": ["a=1"]}, True),
        ({"label": ["a=2"]}, False),
        ({"label": ["a", "b=2"]}, True),
        ({"label": ["a", "c"]}, False),
        ({"label!": ["c"]}, True),
        ({"label!": ["a=2"]}, True),
        ({"label!": ["a"]}, False),
        ({"label": ["a"], "label!": ["b"]}, False),
    ],
)
def test_labels(filters: dict[str, list[str]], passes: bool) -> None:
    assert labels_pass(filters, {"a": "1", "b": "2"}) is passes
    assert labels_pass(filters, None) is (not filters.get("label"))


def test_truth() -> None:
    assert truth({}, "dangling") is None
    assert truth({"dangling": ["True"]}, "dangling") is True
    assert truth({"dangling": ["0"]}, "dangling") is False
    with pytest.raises(InvalidParameter) as raised:
        truth({"dangling": ["maybe"]}, "dangling")
    assert raised.value.message == "Invalid filter 'dangling=[maybe]'"
