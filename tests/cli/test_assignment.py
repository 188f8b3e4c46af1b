from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.cli.test_run import plain
from tests.course.small_exercise import CHECKS, NAME, write_solution


def make(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return plain("assignment", "make", *argv, cwd=cwd)


def test_an_exercise_is_made_without_an_engine(tmp_path: Path) -> None:
    write_solution(tmp_path / "solutions")
    ended = make("1", cwd=tmp_path)
    place = tmp_path / "exercises" / NAME
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"{place}: 2 to answer, 3 to check, 4.5 points\n"
    cells = json.loads((place / f"{NAME}.ipynb").read_text())["cells"]
    assert "SOLUTION" not in "".join("".join(cell["source"]) for cell in cells)


def test_all_of_them_and_where_to(tmp_path: Path) -> None:
    write_solution(tmp_path / "course")
    ended = make("--solutions", "course", "--out", "given", cwd=tmp_path)
    assert ended.stdout.startswith(f"given/{NAME}: ")
    assert (tmp_path / "given" / NAME / "checks.py").is_file()


def test_what_is_wrong_is_one_block(tmp_path: Path) -> None:
    checks = CHECKS.replace("def image", "def picture")
    solution = write_solution(tmp_path / "solutions", checks=checks.replace("=image", "=picture"))
    ended = make("greeting", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.splitlines() == [
        f"{NAME} cannot be handed out:",
        "  - cell 4 (image): there is no check image",
        "  - the check picture has no cell",
        f"where: {solution / NAME}.ipynb",
    ]


def test_an_unknown_name(tmp_path: Path) -> None:
    write_solution(tmp_path / "solutions")
    ended = make("greeitng", cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[0] == "there is no solution greeitng"
    assert "hint:  did you mean greeting?" in ended.stderr


def test_no_solutions(tmp_path: Path) -> None:
    ended = make("--solutions", "nowhere", cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.startswith("there are no solutions\n")


def test_work_stays_unless_forced(tmp_path: Path) -> None:
    write_solution(tmp_path / "solutions")
    make("1", cwd=tmp_path)
    place = tmp_path / "exercises" / NAME
    (place / "Dockerfile").write_text("FROM busybox")
    ended = make("1", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "hint:  --force moves it aside" in ended.stderr
    ended = make("1", "--force", cwd=tmp_path)
    assert ended.stdout.endswith(f" (what was there is now {NAME}.old)\n")
    assert (tmp_path / "exercises" / f"{NAME}.old" / "Dockerfile").read_text() == "FROM busybox"
