"""Who dies with whom: engine, launcher, containers. And that nothing of them is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labkernel.engine.runtime.cgroups import Cgroups, engine_name
from labkernel.engine.runtime.client import Launcher
from tests.engine.runtime.lab import Lab, lab
from tests.support.room import wait_until
from tests.support.source_tree import REPOSITORY

#: An engine with two containers and an exec: prints their pids, then waits to be killed.
ENGINE = """
import sys, time
from pathlib import Path
from labkernel.engine.runtime.spec import process_spec
from tests.engine.runtime.lab import Lab
lab = Lab(Path(sys.argv[1]))
name, first = lab.start("sh", "-c", "trap '' TERM; sleep 1000 & sleep 1000")
_, second = lab.start("sleep", "1000", pid="host")
third = lab.wait(lab.launcher.exec(name, "third", process_spec(["sleep", "1000"], env=["PATH=/bin"])))
if len(sys.argv) > 2:
    lab.wait(lab.launcher.pause(name))
print(lab.launcher._process.pid, first.pid, second.pid, third.pid, flush=True)
time.sleep(1000)
"""


def ended(pid: int) -> bool:
    """Whether a process is gone, or a zombie whose parent has other things to do."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def all_end(pids: list[int]) -> bool:
    return any(all(ended(pid) for pid in pids) for _ in wait_until(10))


def leftovers(state_dir: Path) -> list[Path]:
    return list(Path("/sys/fs/cgroup").rglob(engine_name(state_dir) + "/*/cgroup.procs"))


def start_engine(directory: Path, *options: str) -> tuple[subprocess.Popen[str], list[int]]:
    engine = subprocess.Popen(
        [sys.executable, "-c", ENGINE, str(directory), *options],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert engine.stdout
    return engine, [int(word) for word in engine.stdout.readline().split()]


@pytest.mark.parametrize("options", [(), ("paused",)], ids=["running", "paused"])
def test_containers_die_with_the_engine(root: None, tmp_path: Path, options: tuple[str, ...]) -> None:
    engine, pids = start_engine(tmp_path, *options)
    assert len(pids) == 4
    engine.kill()
    engine.wait()
    assert all_end(pids)
    # The launcher goes last: it removes what the engine made.
    name = engine_name(tmp_path / "state")
    assert any(not list(Path("/sys/fs/cgroup").rglob(name)) for _ in wait_until(10))


def test_engine_and_launcher_killed_at_once(root: None, tmp_path: Path) -> None:
    """The kernel kills the containers; the next engine removes their cgroups."""
    engine, pids = start_engine(tmp_path)
    os.kill(pids[0], signal.SIGKILL)
    engine.kill()
    engine.wait()
    assert all_end(pids)
    assert leftovers(tmp_path / "state") != []

    async def next_engine() -> None:
        launcher = await Launcher.start(tmp_path / "state")
        assert leftovers(tmp_path / "state") == []
        await launcher.close()

    asyncio.run(next_engine())
    Cgroups.detect(tmp_path / "state").close()


def test_what_a_killed_engine_left_running_is_killed(root: None, tmp_path: Path) -> None:
    """A program that changed its user id outlives the launcher; it is in a cgroup of ours still."""
    cgroups = Cgroups.detect(tmp_path)
    plan = cgroups.plan("left", {})
    survivor = subprocess.Popen(["sleep", "1000"])
    for directory in plan["create"]:
        os.mkdir(directory)
        Path(directory, "cgroup.procs").write_text(str(survivor.pid))
    cgroups.remove_stale()
    assert survivor.wait(10) == -signal.SIGKILL
    assert leftovers(tmp_path) == []
    cgroups.close()


def test_containers_die_with_the_launcher_and_the_engine_hears_of_it(root: None, tmp_path: Path) -> None:
    with lab(tmp_path) as opened:
        _, started = opened.start("sleep", "1000")
        launcher = opened.launcher

        async def work() -> int:
            os.kill(launcher._process.pid, signal.SIGKILL)
            code = await started.exited
            await launcher.lost
            return code

        assert opened.wait(work()) == 137
        assert ended(started.pid)
        assert leftovers(tmp_path / "state") == []
        with pytest.raises(Exception, match="launcher has ended"):
            opened.start("true")


def test_closing_kills_and_removes(root: None, tmp_path: Path) -> None:
    with lab(tmp_path) as opened:
        pids = [opened.start("sleep", "1000")[1].pid for _ in range(3)]
    assert all(ended(pid) for pid in pids)
    assert list(Path("/sys/fs/cgroup").rglob(engine_name(tmp_path / "state"))) == []


def test_nothing_is_seen_outside(box: Lab) -> None:
    """No mount of a container is on the machine, and none is left when it ends."""
    name, started = box.start("sleep", "1000")
    assert str(box.directory) not in Path("/proc/self/mountinfo").read_text()
    box.end(name, started)
    deadline = time.monotonic() + 5
    while list(Path("/sys/fs/cgroup").rglob(name)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not list(Path("/sys/fs/cgroup").rglob(name))


def test_the_launcher_holds_nothing_of_ended_containers(box: Lab) -> None:
    def open_files() -> int:
        return len(os.listdir(f"/proc/{box.launcher._process.pid}/fd"))

    box.run("true")
    before = open_files()
    for _ in range(20):
        box.run("true", stdin=b"x")
        box.fails("nope")
    assert open_files() == before


def test_descriptors_of_the_engine_are_not_leaked(box: Lab) -> None:
    box.run("true")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        box.run("true")
        box.fails("nope")
    assert len(os.listdir("/proc/self/fd")) == before
