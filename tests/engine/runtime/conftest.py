"""One launcher for the tests of a module, run as root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.runtime.lab import Lab, lab


@pytest.fixture(scope="module")
def box(root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A launcher of this module's own, with a root file system of busybox."""
    directory: Path = tmp_path_factory.mktemp("lab")
    with lab(directory) as opened:
        yield opened


@pytest.fixture(scope="module")
def sleeper(box: Lab) -> str:
    """The id of a container that waits; TERM ends it with 5."""
    name, _ = box.start("sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.1; done", hostname="sleeper")
    return name
