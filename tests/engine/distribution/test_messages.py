"""Progress messages, as dockerd writes them."""

from __future__ import annotations

import pytest

from labkernel.engine.distribution import messages


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (999, "999B"), (1000, "1kB"), (1234567, "1.235MB"), (25_000_000_000, "25GB")],
)
def test_sizes(size: int, text: str) -> None:
    assert messages.human_size(size) == text


def test_bars() -> None:
    assert messages.bar(0, 100) == "[>" + " " * 50 + "]       0B/100B"
    assert messages.bar(50_000, 100_000) == "[" + "=" * 25 + ">" + " " * 25 + "]     50kB/100kB"
    assert messages.bar(100, 100) == "[" + "=" * 50 + ">]     100B/100B"
    assert messages.bar(7, 0) == "      7B"


def test_progress() -> None:
    assert messages.progress("Downloading", "abc", 1, 2) == {
        "status": "Downloading",
        "progressDetail": {"current": 1, "total": 2},
        "progress": messages.bar(1, 2),
        "id": "abc",
    }
