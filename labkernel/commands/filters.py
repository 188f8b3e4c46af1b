"""--filter KEY=VALUE, as the API takes filters."""

from __future__ import annotations

from collections.abc import Sequence

from labkernel.commands.errors import CommandError
from labkernel.commands.flags import many

FILTER = many(
    "filter", "f", "Show only what matches, as KEY=VALUE; may be given several times", metavar="filter"
)


def filters(values: Sequence[str]) -> dict[str, list[str]]:
    """["status=exited", "label=a", "label=b"] -> {"status": ["exited"], "label": ["a", "b"]}."""
    wanted: dict[str, list[str]] = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals:
            raise CommandError(
                f'invalid argument "{value}" for "-f, --filter" flag: invalid filter \'{value}\'',
                hint="a filter is KEY=VALUE, such as status=exited or name=web",
                exit_code=125,
            )
        wanted.setdefault(key.strip().lower(), []).append(text.strip())
    return wanted
