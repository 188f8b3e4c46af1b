"""What a birth tells of itself: its steps, how long each took, and why it failed."""

from __future__ import annotations

import time

#: Users can make details and steps as long and as many as they like; a message holds so much.
LONGEST_DETAIL = 150
MOST_STEPS = 60


class Refused(Exception):
    """A birth that cannot go on, for a reason that the user can act on. `kind` is one of
    client.StartFailed's.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class Story:
    """The steps so far. `begin` ends the step before; the step that fails is the one begun last."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, str, int]] = []
        self.warnings: list[str] = []
        self.name = ""
        self._detail = ""
        self._since = time.perf_counter_ns()

    def begin(self, name: str, detail: str = "") -> None:
        """The next step begins: what is done, and to what."""
        now = time.perf_counter_ns()
        if self.name:
            self.steps.append((self.name, self._detail, (now - self._since) // 1000))
        self.name, self._detail, self._since = name, detail[:LONGEST_DETAIL], now

    def told(self) -> list[tuple[str, str, int]]:
        """The steps, or the last of them where there are so many that no message would hold them."""
        return self.steps[-MOST_STEPS:]

    def end(self) -> None:
        """The last step is over."""
        self.begin("")
