"""Every solution's notebook, run headless on each engine: its checks pass. As given out, none of them does."""

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


@pytest.mark.parametrize("name", NAMES)
def test_as_given_out(course_host: Daemon, desk: Callable[..., Desk], name: str) -> None:
    """Also after the solution was run on the same engine: the first cells take away what that has left."""
    given = desk(course_host, name)
    given.run_notebook(allow_errors=True)
    outcomes = {checked.outcome for checked in given.check().values()}
    assert outcomes <= {"fail", "skipped"}, given.outcomes()
