"""The gradebook: all results as one table, CSV for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from labkernel.grading.records import Record

PENDING = "pending"
"""The state of a submission that nobody got to."""


def gradebook(learners: Sequence[str], records: Mapping[str, Record], checks: Sequence[str]) -> str:
    """A line for each learner: name, points, most points, state, the points of each check.

    What is not known is left empty: an error of ours is no zero.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["learner", "points", "max_points", "state", *checks])
    for learner in learners:
        record = records.get(learner)
        if record is None:
            writer.writerow([_harmless(learner), "", "", PENDING, *[""] * len(checks)])
            continue
        points = {check["name"]: check["points"] for check in record.checks}
        amounts = [number(points.get(check)) for check in checks]
        writer.writerow(
            [_harmless(learner), number(record.points), number(record.max_points), record.state, *amounts]
        )
    return out.getvalue()


def number(points: float | None) -> str:
    """As people write it: 3, 2.5; nothing for what is not known."""
    return "" if points is None else f"{points:.6g}"


def _harmless(text: str) -> str:
    """A spreadsheet takes what starts like this for a formula, and runs it."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text
