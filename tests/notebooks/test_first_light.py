"""The first lesson, run headless as it is in the repository, on our engine and on Docker's."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from labkernel.notebook.lab import FIRST_LESSON, copy_lessons, lessons
from tests.support.daemons import Daemon
from tests.support.executed import execute


def names(daemon: Daemon) -> list[str]:
    return daemon.docker("ps", "-a", "--format", "{{.Names}}").stdout.split()


@pytest.mark.timeout(1800)  # it compiles Go's library, and first makes the golang image
def test_first_light(lesson_host: Daemon, directory: Path) -> None:
    copy_lessons(directory)
    ran = execute(lesson_host, directory / FIRST_LESSON)
    assert "answers at unix://" in ran.text("load")
    assert ran.text("hello").endswith("Hello World\n")
    assert "Exited (0)" in ran.text("ps-all")
    assert ran.text("loop-logs").startswith("hello\nhello\n")
    assert "1 root" in ran.text("inside")
    assert "Exited" in ran.text("stopped")

    assert "built me/web-base" in ran.text("base")
    assert "RUN apt-get update" in ran.html("base")
    assert ran.text("base-again").count("cached") == 4
    assert image_id(ran.text("base-again")) == image_id(ran.text("base"))
    answer = [
        "hello learner!",
        "--- running external command...",
        ">>> pkg-config --cflags python2",
        "error: exit status 1",
    ]
    for identity in ("mount", "curl"):
        assert [line for line in ran.text(identity).splitlines() if line in answer] == answer
    assert "http://localhost:8080" in ran.text("app-ports")
    assert 'href="http://localhost:8080"' in ran.html("app-ports")

    assert ran.text("both-curl") == "8080 says: hello learner!\n8082 says: hello again, learner!\n"
    assert "listening on: http://localhost:8080\n" in ran.text("app-logs")
    assert "shared with" in ran.text("layers")
    assert ran.html("layers").count("me/web-app:v") >= 2
    assert "1MB  (writable layer)" in ran.text("writable")

    assert ran.text("slim-curl").startswith("hello again, learner!\n")
    assert 'exec: "pkg-config": executable file not found' in ran.text("slim-curl")
    assert "in 1 layer" in ran.text("flat")
    assert "hello again, learner!" in ran.text("flat-run")

    assert names(lesson_host) == []
    assert not (directory / "first-light").exists()


@pytest.mark.timeout(900)  # may be the first to need the images
@pytest.mark.parametrize("lesson_host", ["engine"], indirect=True)
def test_first_light_after_a_run_that_was_left(lesson_host: Daemon, directory: Path) -> None:
    """The first cells clear away what an earlier run has left, and nothing else."""
    copy_lessons(directory)
    (directory / "first-light").mkdir()
    (directory / "first-light" / "left").touch()
    for name in ("hello", "web-app-v1", "mine"):
        lesson_host.docker("create", "--name", name, "busybox", "true")
    notebook = nbformat.read(directory / FIRST_LESSON, 4)
    notebook.cells = [cell for cell in notebook.cells if cell.id in {"load", "start", "hello"}]
    nbformat.write(notebook, directory / FIRST_LESSON)
    ran = execute(lesson_host, directory / FIRST_LESSON)
    assert ran.text("hello").endswith("Hello World\n")
    assert sorted(names(lesson_host)) == ["hello", "mine"]
    assert not (directory / "first-light" / "left").exists()


def image_id(report: str) -> str:
    """The id in "built me/web-base (0123456789ab) in ..."."""
    return report.partition("built me/web-base (")[2].partition(")")[0]


def test_notebooks_are_kept_without_outputs() -> None:
    for path in lessons().glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            assert not cell.get("outputs"), f"{path.name}: {cell['id']}"
            assert cell.get("execution_count") is None, f"{path.name}: {cell['id']}"


def test_the_lessons_dockerfiles_are_the_applications() -> None:
    """What a learner types in the lesson is what lies beside the sources."""
    cells = {cell.id: cell.source for cell in nbformat.read(lessons() / FIRST_LESSON, 4).cells}
    for identity, name in [("base", "docker-web-base/Dockerfile"), ("app", "Dockerfile")]:
        assert cells[identity].partition("\n")[2].strip() == (lessons() / "app" / name).read_text().strip()
