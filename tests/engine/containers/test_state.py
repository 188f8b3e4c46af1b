from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.containers.inspect import check_filters, shell_words
from labkernel.engine.containers.names import PEOPLE, QUALITIES, random_name
from labkernel.engine.containers.processes import parse_ps
from labkernel.engine.containers.state import KEPT_RESULTS, Health, State
from labkernel.engine.errors import InvalidParameter
from labkernel.engine.timestamps import ZERO, ago, rfc3339


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "Less than a second"),
        (0.9, "Less than a second"),
        (1, "1 second"),
        (59.9, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (5399, "About an hour"),
        (5400, "2 hours"),
        (47.4 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (13.9 * 86400, "13 days"),
        (14 * 86400, "2 weeks"),
        (59 * 86400, "8 weeks"),
        (61 * 86400, "2 months"),
        (729 * 86400, "24 months"),
        (731 * 86400, "2 years"),
    ],
)
def test_how_long_ago(seconds: float, words: str) -> None:
    """The words of Docker's go-units HumanDuration."""
    assert ago(seconds) == words


def test_the_status_column() -> None:
    three_seconds_ago = rfc3339(time.time_ns() - 3_500_000_000)
    assert State().sentence() == "Created"
    assert State("running", started_at=three_seconds_ago).sentence() == "Up 3 seconds"
    assert State("paused", started_at=three_seconds_ago).sentence() == "Up 3 seconds (Paused)"
    ended = State("exited", exit_code=137, started_at=three_seconds_ago, finished_at=three_seconds_ago)
    assert ended.sentence() == "Exited (137) 3 seconds ago"
    again = State("restarting", exit_code=1, started_at=three_seconds_ago, finished_at=three_seconds_ago)
    assert again.sentence() == "Restarting (1) 3 seconds ago"
    assert State("removing").sentence() == "Removal In Progress"


def _result(code: int) -> dict[str, Any]:
    return {"Start": ZERO, "End": ZERO, "ExitCode": code, "Output": ""}


def test_health_follows_the_results() -> None:
    health = Health()
    found = []
    for code in (1, 1, 0, 1, 0, 1, 1, 1):
        health.take(_result(code), counts=True, retries=2)
        found.append((health.status, health.failing_streak))
    assert [status for status, _ in found] == [
        *("starting", "unhealthy", "healthy", "healthy", "healthy", "healthy", "unhealthy", "unhealthy")
    ]
    assert [streak for _, streak in found] == [1, 2, 0, 1, 0, 1, 2, 3]
    assert [result["ExitCode"] for result in health.results] == [1, 0, 1, 1, 1]
    assert len(health.results) == KEPT_RESULTS


def test_failures_in_the_start_period_count_once_it_was_healthy() -> None:
    health = Health()
    for _ in range(9):
        health.take(_result(1), counts=False, retries=1)
    assert (health.status, health.failing_streak) == ("starting", 0)
    health.take(_result(0), counts=False, retries=1)
    health.take(_result(-1), counts=False, retries=1)
    assert (health.status, health.failing_streak) == ("unhealthy", 1)


def test_a_restart_forgets_the_status_and_keeps_the_results() -> None:
    health = Health("unhealthy", 7, [_result(1)])
    health.restart()
    assert health.describe() == {"Status": "starting", "FailingStreak": 0, "Log": [_result(1)]}


@pytest.mark.parametrize(
    ("health", "remark"),
    [("starting", " (health: starting)"), ("healthy", " (healthy)"), ("unhealthy", " (unhealthy)")],
)
def test_health_is_in_the_status_column(health: str, remark: str) -> None:
    state = State("running", started_at=rfc3339(time.time_ns() - 3_500_000_000), health=Health(health))
    assert state.sentence() == f"Up 3 seconds{remark}"
    state.status = "paused"
    assert state.sentence() == "Up 3 seconds (Paused)"
    state.status, state.finished_at = "exited", state.started_at
    assert state.sentence() == "Exited (0) 3 seconds ago"


def test_a_state_is_stored_and_read_back() -> None:
    state = State("exited", exit_code=3, error="x", oom_killed=True, finished_at=rfc3339())
    assert State.restored(state.stored()) == state
    state.health = Health("healthy", 0, [_result(0)])
    assert State.restored(state.stored()) == state


@given(st.integers(0, 4_000_000_000 * 10**9))
def test_times_sort_as_text(nanoseconds: int) -> None:
    text = rfc3339(nanoseconds)
    assert len(text) == 30
    assert int(datetime.fromisoformat(text).timestamp()) == nanoseconds // 10**9
    assert ZERO < text <= rfc3339(nanoseconds + 1)


def test_every_name_is_one_and_two_are_not_the_same() -> None:
    taken: set[str] = set()
    for _ in range(len(QUALITIES) * len(PEOPLE) // 4):
        taken.add(random_name(taken))
    assert len(taken) == len(QUALITIES) * len(PEOPLE) // 4
    everything = {f"{quality}_{person}" for quality in QUALITIES for person in PEOPLE}
    assert random_name(everything) not in everything
    assert len(set(PEOPLE)) == len(PEOPLE)
    assert len(set(QUALITIES)) == len(QUALITIES)


@pytest.mark.parametrize(
    "filters", [{"colour": ["red"]}, {"status": ["happy"]}, {"exited": ["x"]}, {"exited": ["1.5"]}]
)
def test_filters_that_are_none(filters: dict[str, list[str]]) -> None:
    with pytest.raises(InvalidParameter):
        check_filters(filters)


def test_filters_that_are() -> None:
    check_filters({"status": ["running", "exited"], "exited": ["0", "-1"], "label": ["a=b"], "name": ["("]})


def test_a_command_on_one_line() -> None:
    assert shell_words(["sh", "-c", "echo a b"]) == "sh -c 'echo a b'"


def test_the_rows_of_ps() -> None:
    output = "USER  PID COMMAND\nroot    7 sleep 10\nroot   70 other\nroot  8 sh -c a b\n"
    assert parse_ps(output, [7, 8]) == {
        "Titles": ["USER", "PID", "COMMAND"],
        "Processes": [["root", "7", "sleep 10"], ["root", "8", "sh -c a b"]],
    }
    for strange in ("", "CMD\nx\n"):
        with pytest.raises(InvalidParameter):
            parse_ps(strange, [1])
