"""The flags of `docker build` that are about its steps: of our command and of the stock client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands.conftest import Commands
from tests.support.site import Site

STEPS = """FROM busybox
RUN cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.shares
RUN df -k /dev/shm | awk 'END { print "shm", $2 }'; echo files $(ulimit -Sn) $(ulimit -Hn)
RUN grep a.test /etc/hosts; ls /sys/class/net | wc -l
"""
FLAGS = (
    *("--memory", "64m", "--cpu-shares", "512", "--shm-size", "12m", "--ulimit", "nofile=100:200"),
    *("--add-host", "a.test:10.1.2.3", "--network", "none", "--label", "a=b"),
)
SAID = [f"{64 << 20}\n512\n", f"shm {12 << 10}\nfiles 100 200\n", "10.1.2.3\ta.test\n1\n"]


@pytest.fixture(params=["ours", "stock"])
def build(request: pytest.FixtureRequest, run: Commands) -> Callable[..., str]:
    """Build from standard input; what is printed."""

    def ours(*flags: str) -> str:
        return run("build", *flags, "-", stdin=STEPS.encode()).printed

    def stock(*flags: str) -> str:
        environment = {**run.daemon.environment(), "DOCKER_BUILDKIT": "0"}
        done = run.daemon.docker("build", *flags, "-", input=STEPS, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return ours if request.param == "ours" else stock


def test_flags(run: Commands, build: Callable[..., str], tmp_path: Path) -> None:
    said = build(*FLAGS, "--no-cache", "--force-rm", "-t", "me/x", "--iidfile", f"{tmp_path}/id")
    for text in SAID:
        assert text in said
    assert said.count("Removing intermediate container") == 4  # the label's too
    image = (tmp_path / "id").read_text()
    assert run("images", "-q", "--no-trunc", "me/x").printed.strip() == image
    assert run("inspect", "--format", "{{json .Config.Labels}}", "me/x").printed.strip() == '{"a":"b"}'
    # Once more, from the cache of that image alone; then of one that cannot help.
    assert build(*FLAGS, "--cache-from", "me/x").count("Using cache") == 4
    assert build(*FLAGS, "--cache-from", "me/absent").count("Using cache") == 0


def test_a_build_from_an_address(run: Commands, site: Site) -> None:
    """The engine fetches it: it is one that the engine reaches."""
    base = site.seen_by(run.daemon)
    said = run("build", "-f", "other", f"{base}/project.git#master").printed
    assert "Step 2/2 : COPY file /only" in said
    assert "Successfully built" in said
    assert "Step 2/2 : RUN echo made" in run("build", f"{base}/Dockerfile").printed
