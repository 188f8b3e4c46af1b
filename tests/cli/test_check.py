from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from labkernel.course.assignment import make_assignment
from tests.cli.conftest import Run
from tests.cli.test_run import plain
from tests.course.small_exercise import CHECKS, NAME, write_solution
from tests.support.daemons import Daemon


@pytest.fixture
def exercise(tmp_path: Path) -> Path:
    """A learner's exercise, in `exercises` below an empty directory."""
    return make_assignment(write_solution(tmp_path / "s"), tmp_path / "exercises").exercise.directory


def report(ended: subprocess.CompletedProcess[str]) -> dict[str, object]:
    found: dict[str, object] = json.loads(ended.stdout)
    return found


def test_nothing_is_there_then_all_is_right(labkernel: Run, docker_host: Daemon, exercise: Path) -> None:
    ended = labkernel("check", "1", "--json", cwd=exercise.parent.parent)
    assert (ended.returncode, ended.stderr) == (1, "")
    absent = "there is no image me/greeting"
    assert report(ended) == {
        "exercise": NAME,
        "checks": [
            {"name": "image", "outcome": "fail", "points": 0, "max_points": 1, "message": absent, "hint": ""},
            {
                "name": "greeting",
                "outcome": "skipped",
                "points": 0,
                "max_points": 2.5,
                "message": f"comes after `image`: {absent}",
                "hint": "",
            },
            {
                "name": "tagged",
                "outcome": "fail",
                "points": 0,
                "max_points": 1,
                "message": f"{absent}:v1",
                "hint": "docker tag OLD NEW",
            },
        ],
    }
    (exercise / "Dockerfile").write_text("FROM busybox\nCOPY greeting /greeting\n")
    docker_host.docker("build", "-t", "me/greeting", "-t", "me/greeting:v1", str(exercise))
    ended = labkernel("check", cwd=exercise)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "✔ image: There is an image me/greeting. (1/1 point)",
        "✔ greeting: `me/greeting` says hello. (2.5/2.5 points)",
        "✔ tagged: The image is `me/greeting:v1` too. (1/1 point)",
        "01-greeting: 3 of 3 checks passed, 4.5 of 4.5 points",
    ]


def test_some_checks_and_more_hints(labkernel: Run, docker_host: Daemon, exercise: Path) -> None:
    docker_host.docker("tag", "busybox", "me/greeting")
    ended = labkernel("check", "--hints", "2", str(exercise), "greeting", "image")
    assert ended.returncode == 1
    assert ended.stdout.splitlines() == [
        "✔ image: There is an image me/greeting. (1/1 point)",
        "✘ greeting: Not yet: `me/greeting` says hello. (0/2.5 points)",
        "    `/greeting` should hold <hello>, and does not",
        "    hint 1 of 3: COPY brings a file in",
        "    hint 2 of 3: Look at the context.",
        f"{NAME}: 1 of 2 checks passed, 1 of 3.5 points",
    ]
    ended = labkernel("check", "--json", "--hints", "0", str(exercise), "greeting")
    assert [entry["hint"] for entry in json.loads(ended.stdout)["checks"]] == [""]


def test_no_engine(exercise: Path) -> None:
    ended = plain("check", str(exercise))
    assert (ended.returncode, ended.stderr) == (2, "")
    assert "! image: There is an image me/greeting. (?/1 point)\n    Cannot connect to" in ended.stdout
    assert "which is not your doing" in ended.stdout
    ended = plain("check", str(exercise), "--json")
    assert (ended.returncode, ended.stderr) == (2, "")
    found = json.loads(ended.stdout)
    assert [(entry["outcome"], entry["points"]) for entry in found["checks"]] == [("error", None)] * 3
    assert "Cannot connect to the Docker daemon at unix:///nonexistent" in found["checks"][0]["message"]


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (["01-greetign"], "there is no exercise 01-greetign", "did you mean 01-greeting?"),
        (["~nobody-at-all/x"], "there is no exercise ~nobody-at-all/x", "exercises: "),
        ([], "this directory holds no exercise", "labkernel check 01"),
        (["1", "imag"], f"{NAME} has no check imag", "did you mean image?"),
    ],
)
def test_what_is_not_there(exercise: Path, argv: list[str], message: str, hint: str) -> None:
    ended = plain("check", *argv, cwd=exercise.parent.parent)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines()[0] == message
    assert hint in ended.stderr
    as_json = plain("check", "--json", *argv, cwd=exercise.parent.parent)
    assert (as_json.returncode, as_json.stderr) == (2, "")
    found = json.loads(as_json.stdout)
    assert (found["exercise"], found["checks"]) == (argv[0] if argv else "", [])
    assert found["error"].startswith(f"{message}\nwhere: ")


def test_what_checks_print_is_not_in_the_json(labkernel: Run, exercise: Path) -> None:
    printing = (
        CHECKS + "print('loading')\n@check\ndef loud(lab: Lab) -> None:\n    'Loud.'\n    print('hey')\n"
    )
    (exercise / "checks.py").write_text(printing)
    ended = labkernel("check", "--json", str(exercise), "loud")
    assert (ended.returncode, ended.stderr) == (0, "loading\nhey\n")
    assert [entry["outcome"] for entry in json.loads(ended.stdout)["checks"]] == ["pass"]


def test_checks_that_cannot_be_loaded(exercise: Path) -> None:
    (exercise / "checks.py").write_text("import nothing_of_that_name\n")
    ended = plain("check", str(exercise))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "checks.py cannot be loaded: ModuleNotFoundError" in ended.stderr
    assert f"where: {exercise / 'checks.py'}" in ended.stderr


@pytest.mark.parametrize("argv", [["check", "--help"], ["assignment"], ["assignment", "make", "--help"]])
def test_help(argv: list[str]) -> None:
    ended = plain(*argv)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"Usage:  labkernel {argv[0]}")
