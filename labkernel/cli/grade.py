"""labkernel grade."""

from __future__ import annotations

import json
import os
from pathlib import Path

from labkernel.commands import CommandError, Console, Invocation, Result, Text
from labkernel.commands.command import Command
from labkernel.commands.flags import integer, switch, text
from labkernel.commands.results import align


def grade(invocation: Invocation, console: Console) -> Result:
    """Grade a folder of submissions; what is done is told on stderr, a table of all on stdout."""
    from labkernel.grading.assignment import load_assignment
    from labkernel.grading.grade import grade
    from labkernel.grading.gradebook import number
    from labkernel.grading.submissions import find_submissions

    options, line = invocation.options, invocation.line
    for name, example in (("assignment", "01-web-base"), ("out", "graded")):
        if not options[name]:
            raise CommandError(f"--{name} is missing", where=line, hint=f"{line} --{name} {example}")
    jobs = options["jobs"]
    if jobs < 1:
        raise CommandError(
            f"--jobs should be 1 or more, and is {jobs}", where=line, hint="without it: one a core"
        )
    folder = Path(invocation.arguments[0]).expanduser()
    out = Path(options["out"]).expanduser()
    if out.resolve().is_relative_to(folder.resolve()):
        raise CommandError(
            "the results would be among the submissions", where=str(out), hint="choose another --out"
        )
    assignment = load_assignment(options["assignment"])
    submissions = find_submissions(folder)
    for submission in submissions:
        if submission.path.name not in (submission.learner, f"{submission.learner}{submission.path.suffix}"):
            console.write_error(f"{submission.path.name!a} is called {submission.learner}\n".encode())
    grading = grade(
        assignment, submissions, out, jobs=jobs, say=lambda words: console.write_error(f"{words}\n".encode())
    )
    records = grading.records.values()
    if options["json"]:
        shown = ("learner", "state", "points", "max_points")
        found = [{name: getattr(record, name) for name in shown} for record in records]
        form = {"exercise": grading.exercise, "submissions": found}
        return Text(json.dumps(form, indent=1, ensure_ascii=False), exit_code=grading.exit_code)
    rows = [[r.learner, number(r.points), number(r.max_points), r.state] for r in records]
    return Text(
        f"{align([['LEARNER', 'POINTS', 'OF', 'STATE'], *rows])}\n\n"
        f"{out / 'gradebook.csv'} has them all; a page for each learner is in {out / 'feedback'}",
        exit_code=grading.exit_code,
    )


GRADE = Command(
    "grade",
    "[OPTIONS] SUBMISSIONS --assignment NAME --out DIR",
    "Grade submissions: a folder with one notebook, or one folder, for each learner. "
    "Interrupted and run again, it does what is left. "
    "Ends with 0 when all are graded, 2 when an error of ours left some open",
    grade,
    (
        text("assignment", "a", "The exercise's number, name or solution directory", metavar="NAME"),
        text("out", "o", "Where results, gradebook.csv and feedback go", metavar="DIR"),
        integer(
            "jobs", "j", "How many at a time (default: one a core)", default=len(os.sched_getaffinity(0))
        ),
        switch("json", "", "Print the summary as JSON"),
    ),
    (1, 1),
)
