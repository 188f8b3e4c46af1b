"""The `filters` argument of lists and prunes: what is the same whatever is filtered. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from labkernel.engine.errors import InvalidParameter
from labkernel.engine.timestamps import nanoseconds_of

Filters = Mapping[str, Sequence[str]]

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
TRUTH = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}


def check_keys(filters: Filters, known: Collection[str]) -> None:
    """Raises InvalidParameter for a filter that there is none of."""
    for key in filters:
        if key not in known:
            raise InvalidParameter(f"Invalid filter '{key}'")


def truth(filters: Filters, key: str) -> bool | None:
    """The value of a filter that is true or false; None where it is not given. Raises InvalidParameter."""
    values = filters.get(key) or ()
    found = {TRUTH.get(value.lower()) for value in values}
    if len(found) > 1 or None in found:
        raise InvalidParameter(f"Invalid filter '{key}=[{' '.join(values)}]'")
    return found.pop() if found else None


def labels_pass(filters: Filters, labels: Mapping[str, str] | None) -> bool:
    """Whether something with these labels has all those of `label`, and none of those of `label!`."""
    own = labels or {}

    def has(text: str) -> bool:
        key, has_value, value = text.partition("=")
        return key in own and (not has_value or own[key] == value)

    return all(map(has, filters.get("label", ()))) and not any(map(has, filters.get("label!", ())))


def until(filters: Filters) -> int | None:
    """The time that `until` means, in nanoseconds since 1970: what was made later does not pass. Raises
    InvalidParameter.
    """
    values = filters.get("until") or ()
    if len(values) > 1:
        raise InvalidParameter("more than one until filter specified")
    return moment(values[0]) if values else None


def moment(text: str, now: datetime | None = None) -> int:
    """`10m`, `1h30m` (so long ago), `2026-01-02T03:04:05Z` and shorter, or seconds since 1970 -> nanoseconds
    since 1970.

    Raises:
        InvalidParameter: none of these.
    """
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        nanoseconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
        since = (now or datetime.now(UTC)) - timedelta(microseconds=min(nanoseconds / 1000, 2**55))
        return max(0, int(since.timestamp())) * 10**9  # whole seconds, as dockerd
    try:
        return max(0, nanoseconds_of(text))
    except ValueError:
        raise InvalidParameter(
            f'failed to parse value as time or duration: "{text}"',
            hint="10m, 2026-01-02T03:04:05Z, 2026-01-02",
        ) from None
