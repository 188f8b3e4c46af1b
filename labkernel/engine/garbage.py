"""When the engine looks for garbage, which the cycles of tasks and their errors are.

A full collection looks at every object there is, and holds up the loop meanwhile: with ten thousand streams
these are a million, and it takes a second. So only young objects are looked at as they come, and all of them
now and then, when there are few.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

YOUNG = (2_000, 10, 1 << 30)
"""Objects made before the youngest are looked at; how often these before the next; and never the oldest."""
INTERVAL = 30.0
FEW = 500
"""Connections with which a full collection takes less than a tenth of a second."""
LONGEST = 1_000
"""Collections of the young, some twenty thousand objects each, after which a full one is due at any price."""


async def collect(connections: Callable[[], int]) -> None:
    """Collect for as long as the engine runs; `connections` gives their number."""
    gc.freeze()
    gc.set_threshold(*YOUNG)
    while True:
        await asyncio.sleep(INTERVAL)
        if due(gc.get_count()[2], connections()):
            gc.collect()


def due(collections: int, connections: int) -> bool:
    """Whether to look at all objects, after so many collections of the young and with so many connections."""
    return collections > (LONGEST if connections > FEW else 0)
