"""A machine for each test: a network namespace that stands for the host, and one behind it that stands for
the world.

The test's own thread is in the host's namespace for the time of the test, so whatever opens networks there
changes nothing on the real machine.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.network.places import Machine


@pytest.fixture
def machine(root: None) -> Iterator[Machine]:
    machine = Machine()
    try:
        yield machine
    finally:
        machine.close()
