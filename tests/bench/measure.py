"""Samples and what is said of them: no I/O but the clock."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


def seconds(action: Callable[[], object]) -> float:
    """How long `action` takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def alternated(
    rounds: int, samples: Mapping[str, Callable[[], float]], *, warm_up: int = 1
) -> dict[str, list[float]]:
    """`rounds` samples of each, taken in turn: A B A B, so a slow moment of the machine meets all of them.

    `warm_up` rounds before them are thrown away.
    """
    taken: dict[str, list[float]] = {name: [] for name in samples}
    for _ in range(warm_up + rounds):
        for name, sample in samples.items():
            taken[name].append(sample())
    return {name: values[warm_up:] for name, values in taken.items()}


@dataclass
class Row:
    """One line of the table: `samples` by contestant, in `unit` ("s" or "MB"); less is better."""

    what: str
    samples: dict[str, list[float]]
    unit: str = "s"
    goals: dict[str, float] = field(default_factory=dict)
    """Contestant -> how many times less than its median ours is to be."""

    def median(self, name: str) -> float | None:
        taken = self.samples.get(name)
        return statistics.median(taken) if taken else None

    def ratio(self, name: str) -> float | None:
        """How many times as much `name` takes as we do."""
        ours, theirs = self.median("labkernel"), self.median(name)
        return theirs / ours if ours and theirs else None

    def missed(self) -> list[str]:
        """The goals that are not reached, in words."""
        ratios = {name: self.ratio(name) for name in self.goals}
        return [
            f"{self.what}: {ratio:.2f}x {name}, goal {self.goals[name]:g}x"
            for name, ratio in ratios.items()
            if ratio is not None and ratio < self.goals[name]
        ]


CONTESTANTS = ("labkernel", "dockerd", "buildah", "crun", "nbgrader")


def table(rows: list[Row]) -> str:
    """The rows as text: medians, then how many times as much the others take, with the goal for that."""
    shown = [name for name in CONTESTANTS if any(name in row.samples for row in rows)]
    lines = [["", *shown, *(f"{name} / ours" for name in shown[1:])]]
    for row in rows:
        cells = [row.what, *(_amount(row.median(name), row.unit) for name in shown)]
        for name in shown[1:]:
            ratio, goal = row.ratio(name), row.goals.get(name)
            cells.append(f"{ratio:.1f}x" + (f" (goal {goal:g}x)" if goal else "") if ratio else "")
        lines.append(cells)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit == "s":
        return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"
    return f"{value:.2f} {unit}"
