"""What tests of exercises share: engines with the course's images, and copies of exercises to work on."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkernel.course import places
from labkernel.notebook.lab import lessons
from tests.exercises.desk import Desk
from tests.support.catalog_images import NAMES, load_archive
from tests.support.daemons import Daemon
from tests.support.shared import shared_file


@pytest.fixture(scope="module", params=["engine", "user_engine", "dockerd"])
def course_host(request: pytest.FixtureRequest, images_archive: Path) -> Iterator[Daemon]:
    """Our engine as root and as an ordinary user, then Docker's, with debian and golang.

    What notebooks build stays for the next test of the module: Go's library is compiled once on each.
    """
    daemon: Daemon = request.getfixturevalue(request.param)
    load_archive(daemon, images_archive)
    yield daemon
    daemon.clear()


@pytest.fixture
def desk() -> Iterator[Callable[..., Desk]]:
    """Makes desks: desk(daemon, "01-web-base") has the exercise as given out, `solved=True` its solution.

    The directory is one that every user may look into, as pytest's own are not.
    """
    made: list[Path] = []

    def make(daemon: Daemon, name: str, *, solved: bool = False) -> Desk:
        place = Path(tempfile.mkdtemp(prefix="exercise-"))
        made.append(place)
        place.chmod(0o755)
        directory = place / name
        shutil.copytree(places.exercises() / name, directory)
        if solved:
            shutil.copy(places.solutions() / name / f"{name}.ipynb", directory)
        return Desk(daemon, directory)

    yield make
    for place in made:
        shutil.rmtree(place)


@pytest.fixture(scope="session")
def app_archive(engine: Daemon, images_archive: Path) -> Path:
    """debian, golang, me/web-base and me/web-app in one archive; built once a run."""

    def make(path: Path) -> None:
        load_archive(engine, images_archive)
        for name, sources in {"me/web-base": "docker-web-base", "me/web-app": "."}.items():
            built = engine.docker("build", "-t", name, sources, cwd=lessons() / "app", timeout=600)
            assert built.returncode == 0, built.stderr
        saved = engine.docker("save", "-o", str(path), *NAMES, "me/web-base", "me/web-app", timeout=300)
        assert saved.returncode == 0, saved.stderr
        engine.clear()

    return shared_file("app.tar", make)
