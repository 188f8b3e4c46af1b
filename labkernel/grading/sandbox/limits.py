"""What a submission may use, and what came of a cell."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What one submission may use. Times in seconds of the clock, sizes in bytes.

    Where there are no control groups, `memory` is what processes have mapped: what they keep in files in
    memory is not counted.

    `output` is what is kept of what a cell prints; a cell that prints more than `flood` ends the submission.
    """

    cell_seconds: float = 300
    seconds: float = 900
    memory: int = 2 << 30
    processes: int = 256
    output: int = 64 << 10
    flood: int = 4 << 30
    disk: int = 4 << 30


@dataclass(frozen=True)
class CellRun:
    """A cell that ran to its end. `text` is all that a reader sees; `cut`: there was more of it."""

    text: str
    failed: bool
    cut: bool = False


class SandboxEnded(Exception):
    """The submission went over a limit, or ended its own process: nothing more of it runs."""

    def __init__(self, reason: str, text: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.text = text
        """What the cell had printed by then."""


class SandboxError(Exception):
    """Something of ours went wrong; it says nothing about the submission."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
