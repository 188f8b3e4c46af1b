from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from labkernel.commands import CommandError
from labkernel.course import find_exercise, load_exercise, places
from labkernel.course.exercise import exercises_in
from labkernel.notebook.lab import (
    FIRST_LESSON,
    copy_lessons,
    lab_command,
    lab_environment,
    open_lab,
    running_at,
)
from tests.notebook.browser import lab, open_notebook, page, run_cell
from tests.support.daemons import Daemon
from tests.support.source_tree import REPOSITORY


def test_lessons_are_copied_once_and_never_overwritten(tmp_path: Path) -> None:
    assert FIRST_LESSON in copy_lessons(tmp_path)
    (tmp_path / FIRST_LESSON).write_text("the learner's work")
    (tmp_path / "app" / "Dockerfile").unlink()
    assert copy_lessons(tmp_path) == ["app/Dockerfile"]
    assert (tmp_path / FIRST_LESSON).read_text() == "the learner's work"


def test_exercises_are_copied_beside_the_lessons_and_never_overwritten(tmp_path: Path) -> None:
    names = [path.name for path in exercises_in(places.exercises())]
    copied = copy_lessons(tmp_path)
    assert [path.name for path in exercises_in(tmp_path / "exercises")] == names
    assert f"exercises/{names[0]}/checks.py" in copied
    exercise = load_exercise(tmp_path / "exercises" / names[0])
    exercise.notebook.write_text("the learner's work")
    (exercise.directory / "checks.py").unlink()
    (exercise.directory / "checks.py").symlink_to("nowhere")  # it may be the learner's too
    shutil.rmtree(tmp_path / "exercises" / names[-1])
    again = copy_lessons(tmp_path)
    assert {Path(name).parts[:2] for name in again} == {("exercises", names[-1])}
    assert exercise.notebook.read_text() == "the learner's work"
    assert not (exercise.directory / "nowhere").exists()


def test_lab_listens_on_this_machine_only_and_asks_for_a_token(tmp_path: Path) -> None:
    command = " ".join(lab_command(tmp_path))
    assert "--ServerApp.ip=127.0.0.1" in command
    assert "token" not in command


def test_the_users_own_configuration_comes_first() -> None:
    assert (
        lab_environment({"JUPYTER_CONFIG_PATH": "/own"})["JUPYTER_CONFIG_PATH"].split(os.pathsep)[0] == "/own"
    )


def test_a_directory_that_cannot_be_written_is_one_block() -> None:
    with pytest.raises(CommandError) as caught:
        open_lab(Path("/proc/lessons"))
    assert "cannot write the lessons" in caught.value.what
    assert caught.value.hint


@pytest.mark.parametrize("place", ["", "exercises", "lessons/new"])
def test_the_source_is_no_place_for_work(place: str) -> None:
    with pytest.raises(CommandError, match="this is labkernel's source") as caught:
        open_lab(REPOSITORY / place)
    assert str(places.learners()) in str(caught.value.hint)


def test_the_learners_directory_is_beside_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`git clone` at home puts the source where lessons go else."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert places.learners() == tmp_path / "labkernel"
    (tmp_path / "labkernel").symlink_to(REPOSITORY)
    assert places.learners() == tmp_path / "labkernel-work"
    copy_lessons(places.learners())
    assert (
        find_exercise("01", tmp_path).directory == tmp_path / "labkernel-work" / "exercises" / "01-web-base"
    )


def test_a_lab_that_runs_already_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    about = {"pid": os.getpid(), "url": "http://localhost:8888/", "root_dir": "/work"}
    (tmp_path / "jpserver-1.json").write_text(json.dumps(about))
    assert running_at(Path("/work")) == ["http://localhost:8888/"]
    assert running_at(Path("/other")) == []


def test_the_first_cells_in_a_browser(docker_host: Daemon, tmp_path: Path) -> None:
    with lab(tmp_path, docker_host.url) as server, page() as browser:
        open_notebook(browser, server, FIRST_LESSON)
        assert "answers at" in run_cell(browser, 0).locator(".jp-OutputArea").inner_text()
        run_cell(browser, 1)
        assert "Hello World" in run_cell(browser, 2).locator(".jp-OutputArea").inner_text()
        dockerfile = browser.locator(".jp-CodeCell", has_text="%%dockerfile").first
        # A keyword of the Dockerfile's language: Python has no word FROM.
        assert dockerfile.locator(".cm-line span", has_text="FROM").count() == 1
        assert browser.locator(".Toastify__toast").count() == 0
        run_cell(browser, 1)
