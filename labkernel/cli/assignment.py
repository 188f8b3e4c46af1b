"""labkernel assignment make."""

from __future__ import annotations

from pathlib import Path

from labkernel.commands import Console, Invocation, Result, Text
from labkernel.commands.command import Command
from labkernel.commands.flags import switch, text


def make(invocation: Invocation, console: Console) -> Result:
    """Every named exercise, or every one that there is, from the instructor's solutions."""
    from labkernel.course.assignment import (
        all_solutions,
        exercises_beside,
        find_solution,
        find_solutions,
        make_assignment,
    )

    given, out = invocation.options["solutions"], invocation.options["out"]
    solutions = Path(given).expanduser() if given else find_solutions()
    chosen = [find_solution(name, solutions) for name in invocation.arguments] or all_solutions(solutions)
    lines = []
    for solution in chosen:
        place = Path(out).expanduser() if out else exercises_beside(solution)
        made = make_assignment(solution, place, force=invocation.options["force"])
        lines.append(
            f"{place / made.exercise.name}: {made.answers} to answer, "
            f"{len(made.exercise.checks)} to check, {made.points:g} points"
            + (f" (what was there is now {made.kept.name})" if made.kept else "")
        )
    return Text("\n".join(lines))


MAKE = Command(
    "make",
    "[OPTIONS] [NAME...]",
    "Make exercises (all of them by default), as learners get them, from the instructor's solutions",
    make,
    (
        text(
            "solutions", "", "Where the solutions are; else ./solutions, or the course's own", metavar="DIR"
        ),
        text("out", "", "Where to put the exercises; else `exercises` beside the solutions", metavar="DIR"),
        switch("force", "f", "Make it also where somebody has worked in it; that is moved aside"),
    ),
)
