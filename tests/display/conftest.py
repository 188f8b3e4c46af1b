from __future__ import annotations

from collections.abc import Iterator

import pytest

from labkernel.display import Screen, start


@pytest.fixture
def screen() -> Iterator[Screen]:
    """A small screen."""
    started = start(480, 360)
    yield started
    started.stop()
