"""Running checks: each once, those they depend on first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from labkernel.commands.errors import explain, unreachable
from labkernel.course.check import Check, Failed
from labkernel.course.exercise import Exercise
from labkernel.course.lab import Lab
from labkernel.course.outcome import Checked, Outcome, Report

LONGEST = 2000
"""Characters of a message."""

Begun = Callable[[Check, Sequence[Checked]], None]
"""Told of each check as it begins, and of what came of those before it."""


def run_checks(
    exercise: Exercise, lab: Lab, names: Collection[str] = (), *, begun: Begun | None = None
) -> Report:
    """Run an exercise's checks, or those of `names` with what they depend on; report those asked for.

    Never raises: what goes wrong in a check is its outcome.
    """
    done: dict[str, Checked] = {}
    chosen = _chosen(exercise, names)
    for check in chosen:
        _run(exercise, lab, check, done, begun)
    return Report(exercise.name, [done[check.name] for check in chosen])


def same_for_all(exercise: Exercise, outcome: Outcome, message: str, names: Collection[str] = ()) -> Report:
    """A report in which all checks, or those of `names`, have one outcome for one reason: none was run."""
    return Report(
        exercise.name,
        [
            Checked(check.name, check.title, outcome, exercise.points(check.name), message)
            for check in _chosen(exercise, names)
        ],
    )


def _chosen(exercise: Exercise, names: Collection[str]) -> list[Check]:
    return [check for check in exercise.checks if not names or check.name in names]


def _run(
    exercise: Exercise, lab: Lab, check: Check, done: dict[str, Checked], begun: Begun | None
) -> Checked:
    if check.name not in done:
        before = [_run(exercise, lab, other, done, begun) for other in check.after]
        outcome, message, hint = _hindered(before) or _outcome(check, lab, done, begun)
        hints = (*filter(None, [hint]), *exercise.hints(check.name)) if outcome == "fail" else ()
        done[check.name] = Checked(
            check.name, check.title, outcome, exercise.points(check.name), _plain(message), hints
        )
    return done[check.name]


def _hindered(before: Sequence[Checked]) -> tuple[Outcome, str, None] | None:
    """The outcome of a check where one of those `before` it did not pass; it names the one to look at."""
    for checked in before:
        if checked.outcome == "error":
            return "error", f"not looked at: `{checked.name}` could not be checked", None
    for checked in before:
        if checked.outcome == "skipped":
            return "skipped", checked.message, None
        if checked.outcome == "fail":
            return "skipped", f"comes after `{checked.name}`: {checked.message}", None
    return None


def _outcome(
    check: Check, lab: Lab, done: dict[str, Checked], begun: Begun | None
) -> tuple[Outcome, str, str | None]:
    if begun:
        begun(check, list(done.values()))
    try:
        check(lab)
    except Failed as failure:
        return "fail", failure.message, failure.hint
    except (Exception, SystemExit) as error:  # whatever it is, it is ours and not the learner's
        return "error", _explained(error), None
    return "pass", "", None


def _explained(error: BaseException) -> str:
    """What the engine said, or where it is not; else the exception that the check ended with."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    if isinstance(error, DockerException | RequestException):
        return explain(error, "").text
    if type(error).__module__.startswith("urllib3."):  # in the middle of an answer
        return unreachable(error).text
    return f"the check itself failed: {type(error).__name__}: {error}"


def _plain(message: str) -> str:
    """What a container said may be in a message: no more of it than a reader wants, and nothing that a
    terminal or a file would take for more than text.
    """
    shown = message if len(message) <= LONGEST else f"{message[: LONGEST - 1]}…"
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in shown)
