"""testcontainers starts a database from an image made here, and its client uses it."""

from __future__ import annotations

import sys

import pytest

from tests.support.daemons import Daemon

PROGRAM = """
import sys
from testcontainers.community.redis import RedisContainer

with RedisContainer(sys.argv[1]) as container:
    client = container.get_client()
    client.set("lesson", "containers")
    assert client.get("lesson") == b"containers"
    code, output = container.exec(["redis-cli", "get", "lesson"])
    assert (code, output) == (0, b"containers\\n"), (code, output)
    print(container.get_exposed_port(6379))
"""


@pytest.mark.timeout(600)  # a database is installed first
def test_redis(host: Daemon) -> None:
    # Its reaper, which ends what a killed test leaves, is an image of Docker Hub's.
    environment = {**host.environment(), "TESTCONTAINERS_RYUK_DISABLED": "true"}
    # Where the tests run in a container themselves it would take the gateway's address for the host's.
    environment["TESTCONTAINERS_CONNECTION_MODE"] = "docker_host"
    ran = host.run([sys.executable, "-c", PROGRAM, "lesson/redis"], env=environment, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert int(ran.stdout) > 1024
    assert host.docker("ps", "-aq").stdout == ""
