"""What tests of exercises share: engines with the course's images, and copies of exercises to work on."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkernel.course import places
from tests.exercises.desk import Desk
from tests.support.catalog_images import load_archive
from tests.support.daemons import Daemon


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
