"""What a container is at the moment. Pure: the words that inspect, list and events use for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from labkernel.engine.timestamps import ZERO, ago, elapsed

KEPT_RESULTS = 5


@dataclass
class Health:
    """What a container's health checks have found. `status` is starting, healthy or unhealthy; a result has
    Start, End, ExitCode and Output.
    """

    status: str = "starting"
    failing_streak: int = 0
    results: list[dict[str, Any]] = field(default_factory=list)

    def restart(self) -> None:
        """The container has been started again: what is known of it no longer counts."""
        self.status, self.failing_streak = "starting", 0

    def take(self, result: dict[str, Any], *, counts: bool, retries: int) -> None:
        """A check's result; `counts` says whether a failure does, of a container that was never healthy."""
        self.results = [*self.results, result][-KEPT_RESULTS:]
        if result["ExitCode"] == 0:
            self.status, self.failing_streak = "healthy", 0
        elif counts or self.status != "starting":
            self.failing_streak += 1
            if self.failing_streak >= retries:
                self.status = "unhealthy"

    def describe(self) -> dict[str, Any]:
        return {"Status": self.status, "FailingStreak": self.failing_streak, "Log": self.results}


@dataclass
class State:
    """`status` is one of created, running, paused, restarting, removing, exited, dead; times are RFC 3339."""

    status: str = "created"
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_at: str = ZERO
    finished_at: str = ZERO
    health: Health | None = None
    """Since the first start of a container that has a health check."""

    @classmethod
    def restored(cls, stored: Mapping[str, Any]) -> State:
        """From what `stored` made."""
        health = stored.get("health")
        return cls(**{**stored, "health": Health(**health) if health else None})

    @property
    def running(self) -> bool:
        """Its processes exist: running, or paused."""
        return self.status in ("running", "paused")

    def stored(self) -> dict[str, Any]:
        return asdict(self)

    def describe(self) -> dict[str, Any]:
        """As `docker inspect` shows it."""
        described: dict[str, Any] = {
            "Status": self.status,
            "Running": self.running,
            "Paused": self.status == "paused",
            "Restarting": self.status == "restarting",
            "OOMKilled": self.oom_killed,
            "Dead": self.status == "dead",
            "Pid": self.pid,
            "ExitCode": self.exit_code,
            "Error": self.error,
            "StartedAt": self.started_at,
            "FinishedAt": self.finished_at,
        }
        return described | ({"Health": self.health.describe()} if self.health else {})

    def sentence(self) -> str:
        """The STATUS column of `docker ps`."""
        if self.status in ("running", "paused"):
            return f"Up {ago(elapsed(self.started_at))}{self._remark()}"
        if self.status == "restarting":
            return f"Restarting ({self.exit_code}) {ago(elapsed(self.finished_at))} ago"
        if self.status == "removing":
            return "Removal In Progress"
        if self.started_at == ZERO:
            return "Created"
        return f"Exited ({self.exit_code}) {ago(elapsed(self.finished_at))} ago"

    def _remark(self) -> str:
        if self.status == "paused":
            return " (Paused)"
        if self.health is None:
            return ""
        starting = self.health.status == "starting"
        return f" ({'health: starting' if starting else self.health.status})"
