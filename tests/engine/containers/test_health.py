"""Health checks that really run, beyond what is compared with Docker's."""

from __future__ import annotations

import time
from typing import Any

import docker
import pytest

from labkernel.engine.containers.health import command
from tests.support.daemons import Daemon
from tests.support.room import wait_until

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, []),
        ({"Healthcheck": None}, []),
        ({"Healthcheck": {"Test": []}}, []),
        ({"Healthcheck": {"Test": ["NONE"]}}, []),
        ({"Healthcheck": {"Test": ["CMD"]}}, []),
        ({"Healthcheck": {"Test": ["CMD", "a", "b"]}}, ["a", "b"]),
        ({"Healthcheck": {"Test": ["CMD-SHELL", "a b"]}}, ["/bin/sh", "-c", "a b"]),
        ({"Healthcheck": {"Test": ["CMD-SHELL", "a b"]}, "Shell": ["ash", "-ec"]}, ["ash", "-ec", "a b"]),
        ({"Healthcheck": {"Test": ["PING", "a"]}}, []),
    ],
)
def test_what_is_run(config: dict[str, Any], words: list[str]) -> None:
    assert command(config) == words


def _health(api: docker.APIClient, container: Any) -> Any:
    return api.inspect_container(container)["State"]["Health"]


def _run(api: docker.APIClient, *test: str, command: str = "sleep 1000", **check: Any) -> Any:
    made = api.create_container("busybox", command, healthcheck={"test": list(test), **check})
    api.start(made)
    return made


def _until(api: docker.APIClient, container: Any, status: str) -> None:
    for _ in wait_until(10, 0.05):
        if _health(api, container)["Status"] == status:
            return
    raise TimeoutError(f"the container stays {_health(api, container)}")


def test_a_start_interval_paces_the_first_checks(api: docker.APIClient) -> None:
    body = {
        "Image": "busybox",
        "Cmd": ["sleep", "1000"],
        "Healthcheck": {
            "Test": ["CMD", "true"],
            "Interval": 3600 * SECOND,
            "StartPeriod": 3600 * SECOND,
            "StartInterval": SECOND // 10,
        },
    }
    made = api.create_container_from_config(body)
    began = time.monotonic()
    api.start(made)
    _until(api, made, "healthy")
    assert time.monotonic() - began < 5


def test_a_check_that_takes_too_long_is_killed(api: docker.APIClient, lab: Daemon) -> None:
    made = _run(api, "CMD", "sleep", "777", interval=SECOND // 10, timeout=SECOND // 5, retries=1)
    _until(api, made, "unhealthy")
    api.pause(made)  # no further check begins
    api.unpause(made)
    api.pause(made)
    for _ in wait_until(5, 0.05):
        commands = [process[-1] for process in api.top(made)["Processes"]]
        if commands == ["sleep 1000"]:
            return
    raise AssertionError(f"still there: {commands}")


def test_checks_end_with_the_container(api: docker.APIClient, lab: Daemon) -> None:
    before = lab.log.read_text().count("Traceback")
    made = _run(api, "CMD", "true", interval=SECOND // 20)
    _until(api, made, "healthy")
    api.kill(made)
    found = _health(api, made)
    time.sleep(0.3)
    assert _health(api, made) == found
    api.remove_container(made)
    assert lab.log.read_text().count("Traceback") == before


def test_a_paused_container_is_not_checked(api: docker.APIClient) -> None:
    made = _run(api, "CMD", "true", interval=SECOND // 20)
    _until(api, made, "healthy")
    api.pause(made)
    found = _health(api, made)
    time.sleep(0.3)
    assert _health(api, made) == found
    api.unpause(made)
    _until(api, made, "healthy")


def test_a_restarted_container_is_checked_again(api: docker.APIClient) -> None:
    made = _run(api, "CMD", "test", "-e", "/well", interval=SECOND // 10, retries=1)
    _until(api, made, "unhealthy")
    api.restart(made, timeout=0)
    _until(api, made, "unhealthy")
    api.exec_start(api.exec_create(made, "touch /well"))
    _until(api, made, "healthy")


def test_a_new_engine_checks_what_it_starts_again(api: docker.APIClient, lab: Daemon) -> None:
    made = api.create_container(
        "busybox",
        "sleep 1000",
        healthcheck={"test": ["CMD", "true"], "interval": SECOND // 10},
        host_config=api.create_host_config(restart_policy={"Name": "always"}),
    )
    api.start(made)
    _until(api, made, "healthy")
    lab.kill()
    lab.start()
    _until(api, made, "healthy")


def test_checks_run_with_every_kind_of_privilege(any_engine: Daemon) -> None:
    api = any_engine.client().api
    made = _run(api, "CMD-SHELL", "id -un", interval=SECOND // 10)
    _until(api, made, "healthy")
    assert _health(api, made)["Log"][-1]["Output"] == "root\n"
    api.close()
