"""The same calls to dockerd and to our engine: every field of every answer equal, but for a stated list."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.differential.allowed import ALLOWED
from tests.differential.comparison import differences, unexplained
from tests.differential.recorder import Recorder
from tests.differential.scenarios import SCENARIOS
from tests.support.daemons import Daemon


@pytest.fixture
def both(dockerd: Daemon, engine: Daemon) -> Iterator[tuple[Recorder, Recorder]]:
    """Recorders on Docker's daemon and on ours, which hold busybox and nothing else."""
    yield Recorder(dockerd), Recorder(engine)
    dockerd.clear()
    engine.clear()


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_same_answers(scenario: Callable[[Recorder], None], both: tuple[Recorder, Recorder]) -> None:
    docker, ours = both
    scenario(docker)
    scenario(ours)
    name = next(name for name, function in SCENARIOS.items() if function is scenario)
    found = [
        difference
        for step in docker.steps
        for difference in differences(docker.steps[step], ours.steps.get(step), f"{name}/{step}: ")
    ]
    left = unexplained(found, ALLOWED)
    assert not left, f"{len(left)} of {len(found)} differences are not allowed\n" + "\n".join(map(str, left))
