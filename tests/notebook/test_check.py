from __future__ import annotations

from pathlib import Path

import pytest

from labkernel.course.assignment import make_assignment
from tests.course.small_exercise import NAME, SOLUTION, write_solution
from tests.notebook.conftest import Shell


@pytest.fixture
def desk(lab_shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The shell in the directory of a learner's exercise."""
    exercise = make_assignment(write_solution(tmp_path / "solutions"), tmp_path / "exercises").exercise
    monkeypatch.chdir(exercise.directory)
    return lab_shell


def build(desk: Shell, *instructions: str) -> None:
    desk.succeeds("\n".join(["%%dockerfile -t me/greeting --context .", "FROM busybox", *instructions]))


def test_wrong_then_a_hint_then_right(desk: Shell) -> None:
    assert desk.succeeds("%check").text.rstrip().splitlines() == [
        "✘ image: Not yet: There is an image me/greeting. (0/1 point)",
        "    there is no image me/greeting",
        "\N{EN DASH} greeting: `me/greeting` says hello. (0/2.5 points)",
        "    comes after `image`: there is no image me/greeting",
        "✘ tagged: Not yet: The image is `me/greeting:v1` too. (0/1 point)",
        "    there is no image me/greeting:v1",
        "    hint 1 of 1: docker tag OLD NEW",
        "01-greeting: 0 of 3 checks passed, 0 of 4.5 points",
    ]
    build(desk, "RUN echo goodbye > /greeting")
    assert desk.succeeds("%check image").text.strip() == "✔ image: There is an image me/greeting. (1/1 point)"
    assert desk.succeeds("%check greeting").text.rstrip().splitlines() == [
        "✘ greeting: Not yet: `me/greeting` says hello. (0/2.5 points)",
        "    `/greeting` should hold <hello>, and does not",
        "    hint 1 of 3: COPY brings a file in",
    ]
    assert "there is me/greeting" in desk.succeeds("%check tagged").text  # the nearest name
    desk.succeeds(SOLUTION)
    desk.succeeds("%docker tag me/greeting me/greeting:v1")
    assert desk.succeeds("%check").text.rstrip().endswith("3 of 3 checks passed, 4.5 of 4.5 points")


def test_hints_come_one_at_a_time_and_stay(desk: Shell) -> None:
    build(desk)
    desk.succeeds("%check tagged")  # a failure of another check counts for that one
    hints = [
        [line.strip() for line in desk.succeeds("%check greeting").text.splitlines() if "hint " in line]
        for _ in range(4)
    ]
    assert hints == [
        (first := ["hint 1 of 3: COPY brings a file in"]),
        (second := [*first, "hint 2 of 3: Look at the context."]),
        (third := [*second, "hint 3 of 3: `COPY greeting /greeting`"]),
        third,
    ]


def test_the_html(desk: Shell) -> None:
    build(desk)
    html = desk.succeeds("%check").displayed[0]["text/html"]
    assert "It is made FROM busybox" not in html  # of the docstring, the first line
    assert "<code>me/greeting</code> says hello." in html
    assert "<code>/greeting</code> should hold &lt;hello&gt;, and does not" in html
    assert "hint 1 of 3: COPY brings a file in" in html
    assert [html.count(mark) for mark in "✔✘"] == [1, 2]
    assert "1 of 3 checks passed, 1 of 4.5 points" in html


def test_the_result_is_an_object_and_run_all_goes_on(desk: Shell) -> None:
    desk.succeeds("result = %check tagged image")
    desk.succeeds("assert result.exit_code == 1")
    desk.succeeds("assert [c.outcome for c in result.report.checks] == ['fail', 'fail']")
    assert desk.succeeds("print(result.text)").stdout.splitlines()[0].startswith("✘ image: ")


def test_an_unknown_check(desk: Shell) -> None:
    ran = desk.run("%check image greetin")
    assert str(ran.error) == f"{NAME} has no check greetin\nhint:  did you mean greeting?"
    ran = desk.run("%check zzz")
    assert str(ran.error) == f"{NAME} has no check zzz\nhint:  its checks: image, greeting, tagged"


def test_where_there_is_no_exercise(lab_shell: Shell) -> None:
    ran = lab_shell.run("%check")
    assert str(ran.error).startswith("this directory holds no exercise\nwhere: ")
    assert "image" not in lab_shell.completions("%check im")


def test_an_engine_that_does_not_answer_is_not_the_learners_doing(
    desk: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent.sock")
    ran = desk.succeeds("%check")
    assert ran.text.count("! ") == 3
    assert ran.text.count("Cannot connect to the Docker daemon at unix:///nonexistent.sock") == 1
    assert (
        "0 of 3 checks passed, 0 of 4.5 points; 3 could not be checked, which is not your doing" in ran.text
    )
    assert "(?/2.5 points)" in ran.text
    assert "hint 1" not in ran.text


def test_help_and_completion(desk: Shell) -> None:
    assert desk.succeeds("%check --help").stdout.startswith("Usage:  %check [NAME...]")
    assert desk.completions("%check ") == ["greeting", "image", "tagged"]
    assert desk.completions("result = %check image ta") == ["tagged"]
