"""What is installed: a wheel holds the lessons, exercises and solutions, links followed."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from labkernel.course.files import files
from tests.support.source_tree import REPOSITORY

PLACES = {
    "notebooks": "labkernel/notebook/lessons",
    "exercises": "labkernel/course/exercises",
    "solutions": "labkernel/course/solutions",
}


def build(target: str, source: Path, place: Path) -> Path:
    """Build a wheel or a source archive in `place`."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(place)]
    ended = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr
    (built,) = place.iterdir()
    return built


@pytest.fixture(scope="module", params=["from the repository", "from a source archive"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a wheel, as they lie in site-packages."""
    source = REPOSITORY
    if request.param != "from the repository":
        archive = build("sdist", source, tmp_path_factory.mktemp("sdist"))
        place = tmp_path_factory.mktemp("source")
        with tarfile.open(archive) as tar:
            tar.extractall(place, filter="tar")
        (source,) = place.iterdir()
    place = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(build("wheel", source, tmp_path_factory.mktemp("wheel"))) as wheel:
        wheel.extractall(place)
    return place


@pytest.mark.parametrize("name", PLACES)
def test_it_holds_every_file(installed: Path, name: str) -> None:
    expected = {file: (REPOSITORY / name / file).read_bytes() for file in files(REPOSITORY / name)}
    place = installed / PLACES[name]
    assert {file: (place / file).read_bytes() for file in files(place)} == expected
    assert expected


def test_the_course_is_found_in_it(installed: Path, tmp_path: Path) -> None:
    """By the commands of an installation, in a directory that has nothing to do with it."""

    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(installed), "DOCKER_HOST": "unix:///nonexistent.sock"}
        command = [sys.executable, "-P", "-m", "labkernel", *argv]
        return subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100, check=False
        )

    assert run("check", "01", "--help").stdout.startswith("Usage:  labkernel check ")
    checked = run("check", "01")
    assert checked.returncode == 2  # no engine: the exercise was found
    assert "01-web-base: 0 of " in checked.stdout
    assert run("assignment", "make", "01").returncode == 0
    assert (tmp_path / "exercises" / "01-web-base" / "checks.py").is_file()
    place = subprocess.run(
        [sys.executable, "-P", "-c", "import labkernel; print(labkernel.__file__)"],
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert place.startswith(str(installed))  # and not in this repository
