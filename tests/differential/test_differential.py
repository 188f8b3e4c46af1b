"""The same calls to dockerd and to our engine: every field of every answer equal, but for a stated list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.differential.allowed import ALLOWED, ALLOWED_TO
from tests.differential.comparison import differences, unexplained
from tests.differential.recorder import Recorder
from tests.differential.scenarios import SCENARIOS
from tests.support.daemons import Daemon

Scenario = Callable[[Recorder], None]


@pytest.fixture(scope="session")
def answers_of_docker(dockerd: Daemon) -> Callable[[Scenario], dict[str, Any]]:
    """What a scenario's steps came to on Docker's daemon; each is run there once."""
    known: dict[Scenario, dict[str, Any]] = {}

    def answers(scenario: Scenario) -> dict[str, Any]:
        if scenario not in known:
            docker = Recorder(dockerd)
            scenario(docker)
            dockerd.clear()
            known[scenario] = docker.steps
        return known[scenario]

    return answers


@pytest.fixture(params=["engine", "user_engine", "single_uid_engine"])
def ours(request: pytest.FixtureRequest) -> Iterator[Recorder]:
    """Our engine, with each kind of privilege; it holds busybox and nothing else."""
    daemon: Daemon = request.getfixturevalue(request.param)
    yield Recorder(daemon)
    daemon.clear()


@pytest.mark.parametrize("name", SCENARIOS)
def test_same_answers(
    name: str,
    ours: Recorder,
    answers_of_docker: Callable[[Scenario], dict[str, Any]],
    request: pytest.FixtureRequest,
) -> None:
    scenario = SCENARIOS[name]
    docker = answers_of_docker(scenario)
    scenario(ours)
    found = [
        difference
        for step in docker
        for difference in differences(docker[step], ours.steps.get(step), f"{name}/{step}: ")
    ]
    privilege = request.node.callspec.params["ours"]
    left = unexplained(found, [*ALLOWED, *ALLOWED_TO.get(privilege, ())])
    assert not left, f"{len(left)} of {len(found)} differences are not allowed\n" + "\n".join(map(str, left))
