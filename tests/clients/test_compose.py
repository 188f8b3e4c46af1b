"""Debian's docker-compose (1.29) takes a project of two services up and down again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.daemons import Daemon
from tests.support.room import wait_until


def compose(host: Daemon, project: Path, *words: str, timeout: float = 60) -> str:
    """What docker-compose prints; it must succeed."""
    command = ["docker-compose", "--no-ansi", *words]
    done = host.run(command, cwd=project, timeout=timeout)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


def visits(host: Daemon, port: int) -> str:
    """The page, once the database answers."""
    for _ in wait_until(20, 0.2):
        page = host.curl(port, "/cgi-bin/count").strip()
        if page.split(":")[-1].isdigit():
            return page
    raise AssertionError(f"the page has no count: {page}")


@pytest.mark.timeout(600)  # a database is installed first
def test_up_and_down(host: Daemon, project: Path) -> None:
    networks = host.docker("network", "ls", "-q").stdout
    compose(host, project, "up", "-d")
    port = int(compose(host, project, "port", "web", "80").rpartition(":")[2])
    assert visits(host, port) == "hello :1"
    assert visits(host, port) == "hello :2"

    compose(host, project, "up", "-d", "--scale", "web=3")
    ids = compose(host, project, "ps", "-q", "web").split()
    assert len(ids) == 3
    found = compose(host, project, "exec", "-T", "web", "nslookup", "web")
    assert len(set(re.findall(r"^Address: ([0-9.]+)$", found, re.MULTILINE))) == 3
    assert compose(host, project, "exec", "-T", "--index=2", "web", "hostname").strip() in {
        identity[:12] for identity in ids
    }
    (inspected,) = json.loads(host.docker("inspect", ids[0]).stdout)
    assert set(inspected["NetworkSettings"]["Networks"]) == {"shop_front", "shop_back"}

    # Which of the three answers is the database's business, whose count goes on.
    second = host.docker("port", ids[1], "80").stdout.splitlines()[0]
    assert visits(host, int(second.rpartition(":")[2])) == "hello :3"
    assert "Ready to accept connections" in compose(host, project, "logs", "db")
    assert "redis-server" in compose(host, project, "top", "db")

    compose(host, project, "restart", "-t", "1", "db")
    compose(host, project, "stop", "-t", "1", "web")
    assert "Exit" in compose(host, project, "ps", "web")
    compose(host, project, "down", "-v", "-t", "1")
    assert host.docker("ps", "-aq").stdout == ""
    assert host.docker("volume", "ls", "-q").stdout == ""
    assert host.docker("network", "ls", "-q").stdout == networks
