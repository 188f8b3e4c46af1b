from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from labkernel.engine import events as events_module
from labkernel.engine.events import KEPT, Events, make_event, matches

STARTED = make_event("container", "start", "c" * 64, {"name": "web", "image": "nginx:1", "course": "lab"}, 5)
EXECUTED = make_event("container", "exec_start: ls ", "c" * 64, {"name": "web", "image": "nginx:1"}, 5)
PULLED = make_event("image", "pull", "nginx:1", {"name": "nginx"}, 5)
CONNECTED = make_event("network", "connect", "n" * 64, {"name": "bridge", "container": "c" * 64}, 5)


@pytest.mark.parametrize(
    ("event", "filters", "passes"),
    [
        (STARTED, {}, True),
        (STARTED, {"type": ["container"]}, True),
        (STARTED, {"type": ["image", "container"]}, True),
        (STARTED, {"type": ["image"]}, False),
        (STARTED, {"event": ["start", "die"]}, True),
        (EXECUTED, {"event": ["exec_start"]}, True),
        (STARTED, {"container": ["web"]}, True),
        (STARTED, {"container": ["ccc"]}, True),
        (STARTED, {"container": ["other"]}, False),
        (PULLED, {"container": ["web"]}, False),
        (STARTED, {"image": ["nginx"]}, True),
        (STARTED, {"image": ["nginx:1"]}, True),
        (PULLED, {"image": ["nginx"]}, True),
        (STARTED, {"label": ["course"]}, True),
        (STARTED, {"label": ["course=lab"]}, True),
        (STARTED, {"label": ["course=other"]}, False),
        (CONNECTED, {"network": ["bridge"]}, True),
        (STARTED, {"network": ["bridge"]}, False),
        (STARTED, {"event": ["start"], "container": ["other"]}, False),
        (STARTED, {"event": []}, True),
    ],
)
def test_filters(event: dict[str, Any], filters: dict[str, list[str]], passes: bool) -> None:
    assert matches(event, filters) is passes


def test_the_fields_of_an_event() -> None:
    assert STARTED == {
        "status": "start",
        "id": "c" * 64,
        "from": "nginx:1",
        "Type": "container",
        "Action": "start",
        "Actor": {"ID": "c" * 64, "Attributes": {"name": "web", "image": "nginx:1", "course": "lab"}},
        "scope": "local",
        "time": 0,
        "timeNano": 5,
    }
    assert "status" not in CONNECTED


async def collect(events: Events, **options: Any) -> list[str]:
    return [event["Actor"]["ID"] async for event in events.follow(**options)]


def test_the_past_and_what_comes() -> None:
    async def following() -> tuple[list[str], list[str]]:
        events = Events()
        events.publish("container", "start", "before")
        since, until = 0, time.time_ns() + 200_000_000
        both = asyncio.ensure_future(collect(events, since=since, until=until))
        new = asyncio.ensure_future(collect(events, until=until))
        await asyncio.sleep(0.01)
        assert events.listeners == 2
        events.publish("container", "start", "after")
        found = await both, await new
        assert events.listeners == 0
        return found

    assert asyncio.run(following()) == (["before", "after"], ["after"])


def test_a_time_that_is_past() -> None:
    async def following() -> list[str]:
        events = Events()
        events.publish("container", "start", "early")
        until = time.time_ns()
        await asyncio.sleep(0.001)
        events.publish("container", "start", "late")
        return await collect(events, since=0, until=until)

    assert asyncio.run(following()) == ["early"]


def test_the_memory_is_bounded() -> None:
    async def following() -> list[str]:
        events = Events()
        for number in range(KEPT + 10):
            events.publish("container", "start", str(number))
        return await collect(events, since=0, until=time.time_ns())

    found = asyncio.run(following())
    assert len(found) == KEPT
    assert found[-1] == str(KEPT + 9)


def test_a_listener_that_falls_behind_gets_what_it_has_and_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "_BACKLOG", 10)

    async def following() -> list[str]:
        events = Events()
        stream = events.follow()
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        for number in range(50):
            events.publish("container", "start", str(number))
        assert events.listeners == 0
        ids = [(await first)["Actor"]["ID"]]
        ids += [event["Actor"]["ID"] async for event in stream]
        return ids

    found = asyncio.run(asyncio.wait_for(following(), 5))
    assert found == [str(number) for number in range(len(found))]
    assert 10 <= len(found) < 50
