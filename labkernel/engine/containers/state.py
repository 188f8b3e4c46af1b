"""What a container is at the moment. Pure: the words that inspect, list and events use for it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from labkernel.engine.timestamps import ZERO, ago


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

    @property
    def running(self) -> bool:
        """Its processes exist: running, or paused."""
        return self.status in ("running", "paused")

    def stored(self) -> dict[str, Any]:
        return asdict(self)

    def describe(self) -> dict[str, Any]:
        """As `docker inspect` shows it."""
        return {
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

    def sentence(self) -> str:
        """The STATUS column of `docker ps`."""
        if self.status in ("running", "paused"):
            paused = " (Paused)" if self.status == "paused" else ""
            return f"Up {ago(_since(self.started_at))}{paused}"
        if self.status == "restarting":
            return f"Restarting ({self.exit_code}) {ago(_since(self.finished_at))} ago"
        if self.status == "removing":
            return "Removal In Progress"
        if self.started_at == ZERO:
            return "Created"
        return f"Exited ({self.exit_code}) {ago(_since(self.finished_at))} ago"


def _since(moment: str) -> float:
    return max(0.0, time.time() - datetime.fromisoformat(moment).timestamp())
