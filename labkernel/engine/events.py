"""What happened in the engine, for whoever listens: `GET /events`, live widgets, `docker events`."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any

KEPT = 4096
"""Events remembered for `since`."""
_BACKLOG = 10_000
"""Events a listener may fall behind before it is dropped."""
_KEYS = frozenset(
    (
        "action config container daemon event image label network node plugin scope secret service type "
        "volume"
    ).split()
)
_LEGACY_TYPES = ("container", "image")


def make_event(
    kind: str, action: str, actor: str, attributes: Mapping[str, str], nanoseconds: int
) -> dict[str, Any]:
    """One event as the API writes it; containers and images also carry the three fields of API 1.21."""
    event: dict[str, Any] = {}
    if kind in _LEGACY_TYPES:
        event = {"status": action} | ({"id": actor} if actor else {})
        if kind == "container" and "image" in attributes:
            event["from"] = attributes["image"]
    return event | {
        "Type": kind,
        "Action": action,
        "Actor": {"ID": actor, "Attributes": dict(attributes)},
        "scope": "local",
        "time": nanoseconds // 1_000_000_000,
        "timeNano": nanoseconds,
    }


def matches(event: Mapping[str, Any], filters: Mapping[str, list[str]]) -> bool:
    """Whether an event passes the filters of `GET /events`: all keys, any value of each."""
    kind, actor = event["Type"], event["Actor"]
    attributes: Mapping[str, str] = actor["Attributes"]

    def one(key: str, value: str) -> bool:
        if key == "type":
            return bool(kind == value)
        if key in ("event", "action"):
            action: str = event["Action"]
            return action == value or action.startswith(value + ":")
        if key == "label":
            name, has_value, wanted = value.partition("=")
            return name in attributes and (not has_value or attributes[name] == wanted)
        if key == "scope":
            return value == "local"
        if key == "image":
            names = (
                (actor["ID"], attributes.get("name", ""))
                if kind == "image"
                else (attributes.get("image", ""),)
            )
            return any(value in (name, name.rpartition(":")[0]) for name in names)
        if kind != key:
            return key == "container" and attributes.get("container") == value
        return bool(value == attributes.get("name") or actor["ID"].startswith(value))

    # As dockerd, without a word about keys that mean nothing.
    return all(
        any(one(key, value) for value in values) for key, values in filters.items() if values and key in _KEYS
    )


class Events:
    """The engine's events: published from its loop, remembered for a while, followed by any number of
    listeners.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None  # that of the listeners, once there is one
        self._thread = 0
        self._past: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._listeners: set[asyncio.Queue[dict[str, Any]]] = set()

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def publish(self, kind: str, action: str, actor: str, **attributes: str) -> None:
        self.publish_attributes(kind, action, actor, attributes)

    def publish_attributes(self, kind: str, action: str, actor: str, attributes: Mapping[str, str]) -> None:
        """May be called from any thread."""
        event = make_event(kind, action, actor, attributes, time.time_ns())
        if self._loop is None or threading.get_ident() == self._thread:
            self._deliver(event)
        else:
            self._loop.call_soon_threadsafe(self._deliver, event)

    def pruned(self, kind: str, reclaimed: int) -> None:
        """All of a kind that nobody needs has been removed, which freed so many bytes."""
        self.publish(kind, "prune", "", reclaimed=str(reclaimed))

    def _deliver(self, event: dict[str, Any]) -> None:
        self._past.append(event)
        for listener in list(self._listeners):
            try:
                listener.put_nowait(event)
            except asyncio.QueueFull:
                self._listeners.discard(listener)

    async def follow(
        self,
        *,
        since: int | None = None,
        until: int | None = None,
        filters: Mapping[str, list[str]] | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Events from `since` (now, if None) to `until` (for ever, if None), both in nanoseconds since
        1970. They end for a listener that has fallen too far behind.
        """
        wanted = filters or {}
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_BACKLOG)
        past = list(self._past) if since is not None else []
        self._listeners.add(queue)
        try:
            for event in past:
                if since is not None and event["timeNano"] < since:
                    continue
                if until is not None and event["timeNano"] > until:
                    return
                if matches(event, wanted):
                    yield event
            while queue in self._listeners or not queue.empty():
                left = None if until is None else (until - time.time_ns()) / 1e9
                if left is not None and left <= 0:
                    return
                try:
                    event = await asyncio.wait_for(queue.get(), left)
                except TimeoutError:
                    return
                if matches(event, wanted):
                    yield event
        finally:
            self._listeners.discard(queue)
