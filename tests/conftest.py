"""Fixtures for every test: daemons in rooms of their own, throw-away users.

Daemons are started once a session, when a test first asks for one. A test that changes a daemon's state
asks for `docker_host` (runs twice: on our engine and on Docker's) or clears up after itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.catalog_images import make_archive
from tests.support.daemons import Daemon, running
from tests.support.order import Scheduling, in_order
from tests.support.shared import begin, end, shared_file
from tests.support.site import Site, served
from tests.support.throwaway_user import throwaway_user


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        end()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = in_order(items)


@pytest.fixture(scope="session")
def root() -> None:
    """Fails where the tests do not run as root: they run engines for real."""
    assert os.geteuid() == 0, "this test runs a container engine for real: run the tests as root"


@pytest.fixture(scope="session")
def dockerd(root: None) -> Iterator[Daemon]:
    """Docker's daemon, the oracle."""
    with running("dockerd") as daemon:
        yield daemon


@pytest.fixture(scope="session")
def engine(root: None) -> Iterator[Daemon]:
    """Our engine as root. That it leaves nothing behind is checked when the session ends."""
    with running("labkernel") as daemon:
        yield daemon


@pytest.fixture(scope="session")
def user_with_range(root: None) -> Iterator[str]:
    """The name of a throw-away account with a range of subordinate ids."""
    with throwaway_user(subordinate_ids=True) as name:
        yield name


@pytest.fixture(scope="session")
def user_with_one_id(root: None) -> Iterator[str]:
    """The name of a throw-away account that has its own uid and no other."""
    with throwaway_user(subordinate_ids=False) as name:
        yield name


@pytest.fixture(scope="session")
def user_engine(user_with_range: str) -> Iterator[Daemon]:
    """Our engine as an ordinary user with subordinate ids."""
    with running("labkernel", user=user_with_range) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def single_uid_engine(user_with_one_id: str) -> Iterator[Daemon]:
    """Our engine as an ordinary user with a single uid."""
    with running("labkernel", user=user_with_one_id) as daemon:
        yield daemon


@pytest.fixture(params=["labkernel", "dockerd"])
def docker_host(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """Our engine, then Docker's: what is above the seam must work on both. Holds busybox and nothing else."""
    daemon: Daemon = request.getfixturevalue("engine" if request.param == "labkernel" else "dockerd")
    yield daemon
    daemon.clear()


@pytest.fixture(params=["engine", "user_engine", "single_uid_engine"])
def any_engine(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """Our engine with each kind of privilege: root, an ordinary user, a user with a single uid."""
    daemon: Daemon = request.getfixturevalue(request.param)
    yield daemon
    daemon.clear()


@pytest.fixture(scope="session")
def images_archive(engine: Daemon) -> Path:
    """debian and golang as our catalog makes them, in one archive; made once a run."""
    return shared_file("images.tar", lambda path: make_archive(engine, path))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A web site with Dockerfiles, archives and git repositories to build from."""
    with served(tmp_path_factory.mktemp("site")) as made:
        yield made
