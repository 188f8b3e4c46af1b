"""What is tried again, how often, and what is said meanwhile."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from labkernel.engine.distribution import retry
from labkernel.engine.distribution.progress import Stopped
from labkernel.engine.distribution.retry import Busy, persistently
from labkernel.engine.errors import NotFound, Unavailable


def test_later_and_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "DELAYS", (0.05, 0.1, 0.2))
    times: list[float] = []

    def work() -> None:
        times.append(time.monotonic())
        raise Unavailable("not now")

    with pytest.raises(Unavailable, match="not now"):
        persistently(work, lambda _: None)
    waited = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert len(waited) == 3
    assert all(time >= delay for time, delay in zip(waited, (0.05, 0.1, 0.2), strict=True))


def test_who_gets_on_is_not_short_of_attempts(short_delays: None) -> None:
    done = 0

    def work() -> str:
        nonlocal done
        done += 1
        if done < 20:
            raise Unavailable("broken off")
        return "whole"

    assert persistently(work, lambda _: None, progress=lambda: done) == "whole"


def test_a_refusal_is_final() -> None:
    def work() -> None:
        raise NotFound("no such thing")

    with pytest.raises(NotFound):
        persistently(work, lambda _: None)


def test_the_time_that_a_registry_asks_for(short_delays: None) -> None:
    said: list[str] = []
    begun = time.monotonic()
    attempts = 0

    def work() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            busy = Busy("too many requests")
            busy.seconds = 2
            raise busy

    persistently(work, said.append)
    assert time.monotonic() - begun >= 2
    assert said == ["Retrying in 2 seconds", "Retrying in 1 second"]


def test_stopping() -> None:
    stop = threading.Event()

    def work() -> None:
        stop.set()
        raise Unavailable("not now")

    begun = time.monotonic()
    with pytest.raises(Stopped):
        persistently(work, lambda _: None, threading.Event(), stop)
    assert time.monotonic() - begun < 0.5
