"""Running checks: each once, those they depend on first."""

from __future__ import annotations

from collections.abc import Collection

from labkernel.course.check import Check, Failed
from labkernel.course.exercise import Exercise
from labkernel.course.lab import Lab
from labkernel.course.outcome import Checked, Outcome, Report


def run_checks(exercise: Exercise, lab: Lab, names: Collection[str] = ()) -> Report:
    """Run an exercise's checks, or those of `names` with what they depend on; report those asked for.

    Never raises: what goes wrong in a check is its outcome.
    """
    done: dict[str, Checked] = {}
    for check in exercise.checks:
        if not names or check.name in names:
            _run(exercise, lab, check, done)
    return Report(
        exercise.name, [done[check.name] for check in exercise.checks if not names or check.name in names]
    )


def not_run(exercise: Exercise, why: str, names: Collection[str] = ()) -> Report:
    """The report where no check could be run, because of something that is not the learner's doing."""
    return Report(
        exercise.name,
        [
            Checked(check.name, check.title, "error", exercise.points(check.name), why)
            for check in exercise.checks
            if not names or check.name in names
        ],
    )


def _run(exercise: Exercise, lab: Lab, check: Check, done: dict[str, Checked]) -> Checked:
    if check.name not in done:
        missing = [other for other in check.after if _run(exercise, lab, other, done).outcome != "pass"]
        outcome: tuple[Outcome, str, str | None]
        if any(done[other.name].outcome == "error" for other in missing):
            outcome = "error", f"not looked at: {missing[0].name} could not be checked", None
        elif missing:
            outcome = "skipped", f"comes after: {missing[0].title.splitlines()[0]}", None
        else:
            outcome = _outcome(check, lab)
        kind, message, hint = outcome
        hints = (*filter(None, [hint]), *exercise.hints(check.name)) if kind == "fail" else ()
        done[check.name] = Checked(check.name, check.title, kind, exercise.points(check.name), message, hints)
    return done[check.name]


def _outcome(check: Check, lab: Lab) -> tuple[Outcome, str, str | None]:
    try:
        check(lab)
    except Failed as failure:
        return "fail", failure.message, failure.hint
    except Exception as error:  # whatever it is, it is ours and not the learner's
        return "error", f"the check itself failed: {type(error).__name__}: {error}", None
    return "pass", "", None
