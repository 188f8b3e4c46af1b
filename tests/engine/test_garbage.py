"""When all objects are looked at."""

from __future__ import annotations

import pytest

from labkernel.engine.garbage import FEW, LONGEST, due


@pytest.mark.parametrize(
    ("collections", "connections", "expected"),
    [(0, 0, False), (1, 0, True), (1, FEW, True), (1, FEW + 1, False), (LONGEST + 1, 10_000, True)],
)
def test_due(collections: int, connections: int, expected: bool) -> None:
    assert due(collections, connections) is expected
