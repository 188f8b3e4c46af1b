"""One engine for these tests; each ends with no container of its own left."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest

from tests.support.daemons import Daemon


@pytest.fixture
def lab(engine: Daemon) -> Iterator[Daemon]:
    """The engine as root, cleared after each test."""
    yield engine
    engine.clear()


@pytest.fixture
def api(lab: Daemon) -> Iterator[docker.APIClient]:
    """docker-py's low-level client: what it sends and gets is what the API says."""
    client = lab.client().api
    yield client
    client.close()
