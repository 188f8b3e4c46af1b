"""labkernel check."""

from __future__ import annotations

import contextlib
import json
import sys

from labkernel.cli.docker import engine_host
from labkernel.commands import CommandError, Console, Invocation, Result, Text, connect
from labkernel.commands.command import Command
from labkernel.commands.errors import explain
from labkernel.commands.flags import integer, switch

FAULT = 2
"""The exit code when something went wrong that is not the learner's doing."""


def check(invocation: Invocation, console: Console) -> Result:
    """Check what the learner made. With --json, what is printed is JSON whatever happens."""
    as_json = invocation.options["json"]
    try:
        # What a check prints is no part of the report.
        with contextlib.redirect_stdout(sys.stderr):
            return _check(invocation, as_json)
    except Exception as error:
        failure = explain(error, invocation.line)
        failure.exit_code = FAULT
        if not as_json:
            raise failure from None
        name = invocation.arguments[0] if invocation.arguments else ""
        form = {"exercise": name, "checks": [], "error": failure.text}
        return Text(json.dumps(form, indent=2), exit_code=FAULT)


def _check(invocation: Invocation, as_json: bool) -> Result:
    from labkernel.course import Lab, find_exercise, run_checks
    from labkernel.course.run import same_for_all
    from labkernel.notebook.check_report import CheckReport

    exercise = find_exercise(invocation.arguments[0] if invocation.arguments else None)
    names = invocation.arguments[1:]
    exercise.require(names)
    try:
        client = connect(engine_host())
    except CommandError as error:
        report = same_for_all(exercise, "error", error.text, names)
    else:
        with contextlib.closing(client):
            report = run_checks(exercise, Lab(client, exercise.directory), names)
    hints = max(0, invocation.options["hints"])
    if as_json:
        return Text(json.dumps(report.as_json(hints=hints), indent=2), exit_code=report.exit_code)
    return CheckReport(report, {checked.name: hints for checked in report.checks})


CHECK = Command(
    "check",
    "[OPTIONS] [EXERCISE [CHECK...]]",
    "Check an exercise, by its number, name or directory: labkernel check 01. "
    "Ends with 0 when all checks pass, 1 when not, 2 when they cannot be run",
    check,
    (
        switch("json", "", "Print the report as JSON"),
        integer("hints", "", "How many hints to show where a check fails, at most (default 1)", default=1),
    ),
)
