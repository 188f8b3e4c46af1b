"""Runs cells in sandboxes and prints what came of them: python -m tests.grading.sandbox_program FILE

A program of its own, since a grader runs as whoever the engine belongs to. FILE holds {"work", "network",
"files", "exercise", "limits", "images", "setup": [cells], "submissions": {name: [cells]}}. The answer, on
stdout: {name: {"cells": [[text, failed]...], "ended": reason, "checks": {name: [outcome, message]},
"seconds"}}.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from labkernel.grading.sandbox import Limits, SandboxEnded, SandboxError, Sandboxes


def main(order: dict[str, Any]) -> dict[str, Any]:
    files, exercise = Path(order["files"]), Path(order["exercise"])
    options = {"engine": True, "network": order["network"], "jobs": 1, "images": order["images"]}
    found: dict[str, Any] = {}
    with Sandboxes(Path(order["work"]), limits=Limits(**order["limits"]), **options) as sandboxes:
        sandboxes.prepare(files, "01-x", order["setup"])
        for name, cells in order["submissions"].items():
            started = time.monotonic()
            came: dict[str, Any] = {"cells": [], "ended": None, "checks": {}}
            with sandboxes.open(files, "01-x") as sandbox:
                try:
                    for source in cells:
                        ran = sandbox.run_cell(source)
                        came["cells"].append([ran.text, ran.failed])
                except SandboxEnded as ended:
                    came["ended"] = ended.reason
                try:
                    report = sandbox.check(exercise, [])
                    came["checks"] = {
                        checked.name: [checked.outcome, checked.message] for checked in report.checks
                    }
                except (SandboxEnded, SandboxError) as error:
                    came["checks"] = {"all": [type(error).__name__, str(error)]}
            came["seconds"] = time.monotonic() - started
            found[name] = came
    return found


if __name__ == "__main__":
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
