from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.distribution.server.client import Client
from tests.engine.distribution.servers import our_registry


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Of a registry of ours."""
    with tempfile.TemporaryDirectory() as directory, our_registry(Path(directory)) as process:
        yield Client(process.domain)
