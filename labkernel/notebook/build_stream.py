"""The text that a build writes, read as steps while it arrives.

The lines are those of Docker's classic builder: `Step 2/3 : RUN ...`, ` ---> Using cache`,
` ---> Running in 0123...`, ` ---> 0123...` for a finished step, `Successfully built 0123...`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

KEPT = 20_000
"""Characters of a step's output that are kept, its end."""

_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)")
_MARK = re.compile(r" ---> (Running in |Using cache|[0-9a-f]{12,})(.*)")
_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""A control sequence of a terminal (ECMA-48): dockerd colours what a step writes to stderr."""
_NOISE = re.compile(
    r"Removing intermediate container [0-9a-f]+|Successfully (built|tagged) \S+|Sending build context.*"
)


@dataclass
class Step:
    """One instruction. `seconds` counts from its line to the next one's, or to the end."""

    number: int
    instruction: str
    started: float
    seconds: float | None = None
    cached: bool = False
    image: str = ""
    output: str = ""
    cut: bool = False

    @property
    def is_done(self) -> bool:
        return self.seconds is not None


@dataclass
class BuildStream:
    """What is known so far of a build whose text is given to `feed` piece by piece."""

    clock: Callable[[], float] = time.monotonic
    steps: list[Step] = field(default_factory=list)
    total: int = 0
    before: str = ""
    """What came before the first step: the making or the pull of a base image, warnings."""
    _rest: str = ""
    _is_inner: bool = False

    @property
    def current(self) -> Step | None:
        """The step that runs now."""
        return self.steps[-1] if self.steps and not self.steps[-1].is_done else None

    def feed(self, text: str) -> None:
        """Take the next piece; it may end inside a line."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._take(line)

    def finish(self) -> None:
        """The build is over, well or not."""
        if self._rest:
            self._take(self._rest)
            self._rest = ""
        self._end_step()

    def _end_step(self) -> None:
        step = self.current
        if step:
            step.seconds = self.clock() - step.started

    def _take(self, line: str) -> None:
        line = _ESCAPE.sub("", line)
        step = _STEP.fullmatch(line)
        if step and not self._is_inner and self._is_next(int(step[1]), int(step[2])):
            self._end_step()
            self.total = int(step[2])
            self.steps.append(Step(int(step[1]), step[3], self.clock()))
            return
        if self.steps and (step or self._is_inner):
            # A base image is being built, by a Dockerfile of its own: all that is the output of our FROM.
            self._is_inner = not line.startswith("Successfully built ")
            self._keep(self.steps[-1], line)
            return
        if not self.steps:
            if not _NOISE.fullmatch(line.strip()):
                self.before = (self.before + line + "\n")[-KEPT:]
            return
        last = self.steps[-1]
        mark = _MARK.fullmatch(line)
        if mark and mark[1] == "Using cache":
            last.cached = True
        elif mark and not mark[1].startswith("Running"):
            last.image = mark[1]
        elif not mark and not _NOISE.fullmatch(line.strip()):
            self._keep(last, line)

    def _is_next(self, number: int, total: int) -> bool:
        # One that fails has left out what other stages had yet to do.
        return not self.steps or (number > self.steps[-1].number and total == self.total)

    def _keep(self, step: Step, line: str) -> None:
        step.output += line.rpartition("\r")[2] + "\n"
        if len(step.output) > KEPT:
            step.output, step.cut = step.output[-KEPT:], True
