"""Which tests one process runs together, and in what order: the run takes as long as its longest process."""

from __future__ import annotations

from collections import Counter

import pytest
from xdist.scheduler import LoadFileScheduling

from tests.support.shared import FILES_MADE_ONCE

_LONG = ("tests/grading/", "tests/engine/catalog/")
_SCREENS = ("display", "screen", "08_gui")


def needs_screens(nodeid: str) -> bool:
    """X servers of different users on one machine get in each other's way: one of these tests at a time."""
    return any(word in nodeid for word in _SCREENS)


class Scheduling(LoadFileScheduling):
    """A file's tests in one process, and all those with screens: nobody waits for another's lock."""

    def _split_scope(self, nodeid: str) -> str:
        return "screens" if needs_screens(nodeid) else super()._split_scope(nodeid)


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """Begin with one file that needs what is made once, for the others to find; then the long ones first."""
    files = Counter(_file(item) for item in items)
    waiting = {_file(item) for item in items if FILES_MADE_ONCE & set(getattr(item, "fixturenames", ()))}
    maker = min(waiting, key=lambda file: (-files[file], file), default="")

    def rank(item: pytest.Item) -> tuple[int, int, str]:
        file = _file(item)
        kinds = [file == maker, file.startswith(_LONG), needs_screens(file), file in waiting, True]
        return kinds.index(True), -files[file], file

    return sorted(items, key=rank)


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]
