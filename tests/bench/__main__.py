"""`python -m tests.bench [--json FILE] [--only NAME ...]`: measure, print the table, leave nothing behind."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.bench.measure import Row, table
from tests.bench.places import fresh_file_system
from tests.bench.rows import ROWS
from tests.support.daemons import running


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Our speed beside dockerd's, buildah's, crun's and nbgrader's.",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples to FILE too")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), help="measure only these")
    parser.add_argument(
        "--daemons", nargs="+", choices=["labkernel", "dockerd"], default=["labkernel", "dockerd"]
    )
    options = parser.parse_args()
    rows: list[Row] = []
    with ExitStack() as stack:
        place = stack.enter_context(fresh_file_system())
        daemons = {}
        for kind in options.daemons:
            (place / kind).mkdir()
            daemons[kind] = stack.enter_context(running(kind, directory=place / kind))
        for name in options.only:
            print(f"measuring: {name}", file=sys.stderr, flush=True)
            rows += ROWS[name](daemons, place)
            for daemon in daemons.values():
                daemon.clear()
    print(table(rows))
    for row in rows:
        for words in row.missed():
            print(f"goal missed: {words}")
    if options.json:
        found = [
            {"what": row.what, "unit": row.unit, "samples": row.samples, "goals": row.goals} for row in rows
        ]
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
