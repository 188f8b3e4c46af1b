from __future__ import annotations

from pathlib import Path

import docker
import pytest

from labkernel.course import Check, Exercise, Lab, check, fail, run_checks
from labkernel.course.run import LONGEST, same_for_all


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """One whose engine is not there."""
    return Lab(docker.DockerClient("unix:///nonexistent.sock", version="1.41"), tmp_path)


def exercise(*checks: Check) -> Exercise:
    def cell(points: float, *hints: str) -> dict[str, object]:
        return {"nbgrader": {"grade": True, "points": points}, "labkernel": {"hints": [*hints]}}

    cells = {"passes": cell(1), "fails": cell(2, "faint", "plain"), "breaks": cell(3, "never shown")}
    return Exercise("05-x", Path("x"), Path("x.ipynb"), checks, cells)


@check
def passes(lab: Lab) -> None:
    """This passes."""


@check(after=passes)
def fails(lab: Lab) -> None:
    """This fails.

    With more to say.
    """
    fail("wanted one, found `two`", hint="count")


@check(after=fails)
def after_failure(lab: Lab) -> None:
    """This would pass."""


@check(after=(passes, after_failure))
def after_skipped(lab: Lab) -> None:
    """This would pass too."""


@check
def breaks(lab: Lab) -> None:
    """This breaks."""
    raise ZeroDivisionError("division")


@check(after=(fails, breaks))
def after_error(lab: Lab) -> None:
    """This would pass as well."""


def test_outcomes_and_the_form_in_which_they_are_exchanged(lab: Lab) -> None:
    report = run_checks(exercise(passes, fails, after_failure, after_skipped, breaks, after_error), lab)
    keys = ("name", "outcome", "points", "max_points", "message", "hint")
    comes_after = "comes after `fails`: wanted one, found `two`"
    rows = [
        ("passes", "pass", 1, 1, "", ""),
        ("fails", "fail", 0, 2, "wanted one, found `two`", "count"),
        ("after_failure", "skipped", 0, 0, comes_after, ""),
        ("after_skipped", "skipped", 0, 0, comes_after, ""),
        ("breaks", "error", None, 3, "the check itself failed: ZeroDivisionError: division", ""),
        ("after_error", "error", None, 0, "not looked at: `breaks` could not be checked", ""),
    ]
    assert report.as_json() == {
        "exercise": "05-x",
        "checks": [dict(zip(keys, row, strict=True)) for row in rows],
    }
    assert report.as_json(hints=9)["checks"][1]["hint"] == "count\nfaint\nplain"
    assert report.checks[1].title == "This fails.\n\nWith more to say."


@pytest.mark.parametrize(
    ("checks", "exit_code"),
    [((passes,), 0), ((passes, fails), 1), ((fails, after_failure), 1), ((passes, fails, breaks), 2)],
)
def test_exit_codes(lab: Lab, checks: tuple[Check, ...], exit_code: int) -> None:
    assert run_checks(exercise(*checks), lab).exit_code == exit_code


def test_only_those_that_are_named_with_what_they_depend_on(lab: Lab) -> None:
    begun = []
    report = run_checks(
        exercise(passes, fails, after_failure, breaks),
        lab,
        ["after_failure", "passes"],
        begun=lambda check, done: begun.append((check.name, [checked.name for checked in done])),
    )
    assert [checked.name for checked in report.checks] == ["passes", "after_failure"]
    assert begun == [("passes", []), ("fails", ["passes"])]


def test_an_engine_that_is_gone_is_an_error_of_ours_in_plain_words(lab: Lab) -> None:
    @check
    def image(lab: Lab) -> None:
        """There is an image."""
        lab.image("x")

    @check
    def versions(lab: Lab) -> None:
        """There are versions."""
        if not lab.versions("golang"):
            fail("there are none")

    for checked in run_checks(exercise(image, versions), lab).checks:
        assert checked.outcome == "error"
        assert checked.message.startswith("Cannot connect to the Docker daemon")


@pytest.mark.parametrize("error", [SystemExit("x"), RecursionError(), MemoryError(), AssertionError()])
def test_whatever_a_check_raises_is_its_outcome(lab: Lab, error: BaseException) -> None:
    @check
    def raises(lab: Lab) -> None:
        """This raises."""
        raise error

    (checked,) = run_checks(exercise(raises), lab).checks
    assert checked.outcome == "error"
    assert type(error).__name__ in checked.message


def test_an_interrupt_ends_the_checks(lab: Lab) -> None:
    @check
    def raises(lab: Lab) -> None:
        """This is interrupted."""
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_checks(exercise(raises), lab)


def test_a_message_is_text_of_a_readable_length(lab: Lab) -> None:
    @check
    def loud(lab: Lab) -> None:
        """This is loud."""
        fail("red \x1b[31m, nothing \0, half a pair \ud800\nnext " + "x" * 10_000)

    (checked,) = run_checks(exercise(loud), lab).checks
    assert checked.message.startswith("red \ufffd[31m, nothing \ufffd, half a pair \ufffd\nnext xxx")
    assert len(checked.message) == LONGEST
    checked.message.encode()


def test_a_report_of_checks_that_could_not_be_run(lab: Lab) -> None:
    report = same_for_all(exercise(passes, fails), "error", "no engine", ["fails"])
    assert [(c.name, c.outcome, c.points, c.max_points, c.message) for c in report.checks] == [
        ("fails", "error", None, 2, "no engine")
    ]
    assert report.exit_code == 2


def test_a_check_needs_a_docstring() -> None:
    with pytest.raises(TypeError, match="needs a docstring"):

        @check
        def quiet(lab: Lab) -> None:
            pass
