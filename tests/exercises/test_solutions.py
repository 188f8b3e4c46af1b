"""Solutions of 01, 03 and 04, run headless on each engine: all checks pass. As given out, none does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.exercises.desk import Desk
from tests.support.daemons import Daemon

NAMES = ("01-web-base", "03-web-app", "04-two-versions")


@pytest.mark.timeout(900)  # the first one on an engine compiles Go's library, and may have to make golang
@pytest.mark.parametrize("name", NAMES)
def test_solution(course_host: Daemon, desk: Callable[..., Desk], name: str) -> None:
    solved = desk(course_host, name, solved=True)
    ran = solved.run_notebook()
    assert ran.failed == []
    assert set(solved.outcomes().values()) == {"pass"}, solved.outcomes()


@pytest.mark.parametrize("course_host", ["engine"], indirect=True)
@pytest.mark.parametrize("name", NAMES)
def test_as_given_out(course_host: Daemon, desk: Callable[..., Desk], name: str) -> None:
    """After the solution was run on the same engine: the first cells take away what that has left."""
    given = desk(course_host, name)
    course_host.docker("rmi", "me/web-app:v1")  # of some of it, others may have taken care
    ran = given.run_notebook(allow_errors=True)
    assert not {"load", "start", "go", "base", "app"} & set(ran.failed)
    outcomes = {checked.outcome for checked in given.check().values()}
    assert outcomes <= {"fail", "skipped"}, given.outcomes()
