"""What takes long for one client does not keep the others waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.daemons import Daemon

FILES = 60_000


@pytest.fixture(scope="module")
def large(engine: Daemon) -> Iterator[Daemon]:
    """An engine with a container that has written very many files."""
    made = engine.http.call("POST", "/containers/create?name=large", {"Image": "busybox", "Cmd": ["true"]})
    upper = engine.root / "containers" / made.json()["Id"] / "upper"
    for directory in range(FILES // 1000):
        (upper / str(directory)).mkdir()
        for name in range(1000):
            (upper / str(directory) / str(name)).touch()
    yield engine
    engine.clear()


@pytest.mark.parametrize("url", ["/containers/json?all=1&size=1", "/containers/large/json?size=1"])
def test_others_are_served_while_files_are_looked_at(large: Daemon, url: str) -> None:
    took: list[float] = []

    def ask() -> None:
        start = time.monotonic()
        assert large.http.call("GET", url).status == 200
        took.append(time.monotonic() - start)

    asking = threading.Thread(target=ask)
    asking.start()
    waits = []
    while asking.is_alive():
        start = time.monotonic()
        large.http.call("GET", "/_ping")
        waits.append(time.monotonic() - start)
    asking.join()
    assert max(waits) < took[0] / 3, (max(waits), took)
