"""Sizes and times in the docker client's notation: 512m, 1.09kB, 2 minutes, 1m30s."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_MULTIPLES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_NANOSECONDS = {
    "h": 3600 * 10**9,
    "m": 60 * 10**9,
    "s": 10**9,
    "ms": 10**6,
    "us": 10**3,
    "µs": 10**3,
    "ns": 1,
}


def parse_size(text: str) -> int:
    """An amount of memory in bytes: "512m", "1.5GB", "64kib", "1048576"; "-1" stands for no limit.

    Raises ValueError with docker's words.
    """
    if text == "-1":
        return -1
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?", text.strip().lower())
    if not match:
        raise ValueError(f"invalid size: '{text}'")
    return int(float(match[1]) * 1024 ** _MULTIPLES[match[2]])


def parse_duration(text: str) -> int:
    """A time such as "1m30s" or "500ms", in nanoseconds. Raises ValueError with Go's words."""
    body = text.removeprefix("-").removeprefix("+")
    if body == "0":
        return 0
    pieces = re.findall(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|us|µs|ns|m|s)", body)
    if not body or "".join(number + unit for number, unit in pieces) != body:
        missing = re.fullmatch(r"[\d.]+", body)
        raise ValueError(
            f'time: missing unit in duration "{text}"' if missing else f'time: invalid duration "{text}"'
        )
    total = sum(int(float(number) * _NANOSECONDS[unit]) for number, unit in pieces)
    return -total if text.startswith("-") else total


def human_size(count: float, *, precision: int = 4, base: float = 1000.0) -> str:
    """Bytes as docker prints them: 4 significant digits by default, kB = 1000 bytes (base 1024: KiB)."""
    units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"]
    if base == 1024.0:
        units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    step = 0
    value = float(count)
    while value >= base and step < len(units) - 1:
        value /= base
        step += 1
    return f"{value:.{precision}g}{units[step]}"


def human_duration(seconds: float) -> str:
    """A time span in words: "Less than a second", "About a minute", "3 hours", "2 weeks"."""
    whole = int(seconds)
    minutes = whole // 60
    hours = int(seconds / 3600 + 0.5)  # the client rounds hours and only hours
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(seconds / 3600) // 24 // 365} years"


def parse_time(text: str) -> datetime:
    """An RFC 3339 time with up to nanoseconds, as the API writes it; Python keeps microseconds."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)?", text)
    if not match:
        raise ValueError(f"not an RFC 3339 time: {text!r}")
    fraction = (match[2] or ".0")[1:7].ljust(6, "0")
    zone = "+00:00" if match[3] in {"Z", None} else match[3]
    return datetime.fromisoformat(f"{match[1]}.{fraction}{zone}")


def ago(moment: datetime | float, *, now: datetime | None = None) -> str:
    """How long ago a moment (or seconds since the epoch) was: "3 hours ago"."""
    if not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment, UTC)
    return human_duration(((now or datetime.now(UTC)) - moment).total_seconds()) + " ago"
