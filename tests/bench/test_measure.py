"""The arithmetic of the tables; the timings themselves are `make bench`."""

from __future__ import annotations

from itertools import count

from tests.bench.measure import Row, alternated, table


def test_samples_are_taken_in_turn_and_the_first_round_is_dropped() -> None:
    clock = count()
    taken = alternated(2, {"a": lambda: float(next(clock)), "b": lambda: float(next(clock))})
    assert taken == {"a": [2.0, 4.0], "b": [3.0, 5.0]}


def test_ratios_and_goals() -> None:
    samples = {"labkernel": [0.02, 0.01, 0.9], "dockerd": [0.3], "crun": [0.01]}
    row = Row("round", samples, goals={"dockerd": 20, "crun": 0.5})
    assert (row.ratio("dockerd"), row.ratio("crun")) == (15.0, 0.5)
    assert row.missed() == ["round: 15.00x dockerd, goal 20x"]
    assert Row("memory", {"labkernel": [1.0]}, "MB").missed() == []


def test_table() -> None:
    rows = [
        Row("round", {"labkernel": [0.02], "dockerd": [3.0]}, goals={"dockerd": 20}),
        Row("memory", {"labkernel": [1.5]}, "MB"),
    ]
    assert table(rows).splitlines() == [
        "        labkernel  dockerd     dockerd / ours",
        "round     20.0 ms   3.00 s  150.0x (goal 20x)",
        "memory    1.50 MB",
    ]
