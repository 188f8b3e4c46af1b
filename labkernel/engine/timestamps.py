"""Times as the Docker Engine API writes them: RFC 3339, UTC, nanoseconds."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from labkernel.engine.errors import InvalidParameter

ZERO = "0001-01-01T00:00:00Z"
"""Go's zero time: "never"."""

_LAST_SECOND = 253_402_300_799
"""The last that RFC 3339 can write, in the year 9999."""

_second = -1
_text = ""


def rfc3339(nanoseconds: int | None = None) -> str:
    """`2026-01-02T03:04:05.123456789Z`, of now by default; always nine digits, so that text order is time
    order.
    """
    global _second, _text
    seconds, fraction = divmod(time.time_ns() if nanoseconds is None else nanoseconds, 1_000_000_000)
    if seconds != _second:
        _text, _second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)), seconds
    return f"{_text}.{fraction:09d}Z"


def elapsed(moment: str) -> float:
    """Seconds since `moment`, RFC 3339; 0 for one that is yet to come."""
    return max(0.0, time.time() - datetime.fromisoformat(moment).timestamp())


def ago(seconds: float) -> str:
    """How long something has lasted, in the words of `docker ps`: "Less than a second", "About a minute",
    "3 hours".
    """
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes = whole // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
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
    return f"{int(seconds / 3600 / 24 / 365)} years"


def nanoseconds_of(text: str) -> int:
    """Seconds since 1970 with an optional fraction, or RFC 3339 (what it leaves out of the zone is UTC) ->
    nanoseconds since 1970. Raises ValueError.
    """
    if match := re.fullmatch(r"([0-9]{1,18})(?:\.([0-9]{1,9}))?", text):
        return min(int(match[1]), _LAST_SECOND) * 1_000_000_000 + int((match[2] or "0").ljust(9, "0"))
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    fraction = re.search(r"\.([0-9]{1,9})", text)  # a datetime has microseconds only
    nanoseconds = int(fraction[1].ljust(9, "0")) if fraction else 0
    return int(found.replace(microsecond=0).timestamp()) * 1_000_000_000 + nanoseconds


def parse_time(text: str) -> str:
    """`since` and `until` of logs, as `nanoseconds_of` reads them -> RFC 3339 with nanoseconds; "" and "0"
    are no time: "".

    Raises:
        InvalidParameter: neither.
    """
    if not text or text == "0":
        return ""
    return rfc3339(parse_nanoseconds(text))


def parse_nanoseconds(text: str) -> int:
    """`nanoseconds_of`, whose failure is the caller's. Raises InvalidParameter."""
    try:
        return nanoseconds_of(text)
    except ValueError:
        raise InvalidParameter(
            f'strconv.ParseInt: parsing "{text}": invalid syntax',
            hint="seconds since 1970, or 2026-01-02T03:04:05Z",
        ) from None


def duration(nanoseconds: int) -> str:
    """A length of time as Go's `time.Duration` prints it: `1m30s`, `1.5ms`, `0s`."""
    if nanoseconds == 0:
        return "0s"
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if rest < 1_000_000_000:
        for size, unit in ((1_000_000, "ms"), (1_000, "µs")):
            if rest >= size:
                return sign + _decimal(rest, size) + unit
        return f"{sign}{rest}ns"
    minutes, rest = divmod(rest, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    text = _decimal(rest, 1_000_000_000) + "s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    if hours:
        text = f"{hours}h{text}"
    return sign + text


def _decimal(value: int, unit: int) -> str:
    whole, fraction = divmod(value, unit)
    digits = f"{fraction:0{len(str(unit)) - 1}d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
