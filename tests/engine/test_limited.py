"""What an engine cannot do here is said: by its status, and to who asks for it."""

from __future__ import annotations

import pytest

from tests.support.base_images import BUSYBOX
from tests.support.daemons import Daemon

GIVEN = {"Image": BUSYBOX, "Cmd": ["id", "-u"], "User": "daemon", "HostConfig": {"Memory": 32 << 20}}

SAID = {
    "engine": set(),
    "user_engine": {"memory"},
    "single_uid_engine": {"memory", "user"},
}
"""What throw-away users miss on a machine that gives them no control group."""
WARNINGS = {"memory": "memory limit", "user": "do not become user daemon"}
LIMITS = {"memory": "Containers can not be limited", "user": "belong to one user"}


def test_by_the_status_and_by_warnings(any_engine: Daemon, request: pytest.FixtureRequest) -> None:
    said = SAID[request.node.callspec.params["any_engine"]]
    created = any_engine.http.call("POST", "/containers/create", GIVEN).json()
    limits = any_engine.http.call("GET", "/labkernel/status").json()["Limits"]
    told = any_engine.http.call("GET", "/info").json()["Warnings"]
    assert told == (limits or None)
    for word in ("memory", "user"):
        assert any(WARNINGS[word] in warning for warning in created["Warnings"]) == (word in said), word
        assert any(LIMITS[word] in limit for limit in limits) == (word in said), word
    output = any_engine.docker("start", "-a", created["Id"])
    assert output.stdout == ("0\n" if "user" in said else "1\n")
