"""The gradebook as a spreadsheet reads it."""

from __future__ import annotations

import csv
import io

from labkernel.grading.gradebook import gradebook
from labkernel.grading.records import Record


def record(learner: str, state: str, *points: float | None) -> Record:
    checks = tuple(
        {"name": f"c{number}", "points": amount, "max_points": 2.5, "outcome": "pass", "message": ""}
        for number, amount in enumerate(points)
    )
    return Record(learner, state, "digest", checks)  # type: ignore[arg-type]


def table(learners: list[str], *records: Record) -> list[list[str]]:
    text = gradebook(learners, {record.learner: record for record in records}, ["c0", "c1"])
    return list(csv.reader(io.StringIO(text)))


def test_columns() -> None:
    learners = ["ann", "bob", "carl", "dan"]
    rows = table(
        learners,
        record("ann", "graded", 2.5, 2.5),
        record("bob", "unreadable", 0, 0),
        record("carl", "error", 2.5, None),
    )
    assert rows == [
        ["learner", "points", "max_points", "state", "c0", "c1"],
        ["ann", "5", "5", "graded", "2.5", "2.5"],
        ["bob", "0", "5", "unreadable", "0", "0"],
        ["carl", "", "5", "error", "2.5", ""],
        ["dan", "", "", "pending", "", ""],
    ]


def test_what_a_spreadsheet_would_run() -> None:
    names = ["=cmd|' /C calc'!A0", "@x", "+1", "-1", 'a","b', "x\ny"]
    rows = table(names, *(record(name, "graded", 1, 1) for name in names))
    assert [row[0] for row in rows[1:]] == ["'=cmd|' /C calc'!A0", "'@x", "'+1", "'-1", 'a","b', "x\ny"]
