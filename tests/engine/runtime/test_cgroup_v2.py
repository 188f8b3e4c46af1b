"""Containers in a cgroup v2 tree. Where the machine's v2 tree has no controllers, what needs none is still
real.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkernel.engine.runtime.cgroups import Cgroups, engine_name, parse_hierarchies
from labkernel.engine.runtime.client import Launcher
from labkernel.engine.runtime.spec import Device, Resources, process_spec
from tests.engine.runtime.lab import Lab


def detect_v2(state_dir: Path) -> Cgroups:
    _, v2 = parse_hierarchies(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())
    assert v2 is not None, "this machine has no cgroup v2 tree mounted"
    return Cgroups.make(engine_name(state_dir), {}, v2)


@pytest.fixture(scope="module")
def box(root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    opened = Lab(tmp_path_factory.mktemp("v2"), detect_v2)
    yield opened
    opened.close()


def test_born_in_its_own_group(box: Lab) -> None:
    assert box.launcher.cgroup_version == "2"
    name, started = box.start("sleep", "1000")
    directory = box.launcher._cgroups.directory(name, "")
    assert directory is not None
    assert box.launcher.processes(name) == [started.pid]
    assert (
        f"::/{directory.relative_to('/sys/fs/cgroup/unified')}"
        in Path(f"/proc/{started.pid}/cgroup").read_text()
    )
    assert box.launcher.stats(name)["pids_stats"]["current"] == 1
    box.end(name, started)


def test_a_private_view(box: Lab) -> None:
    ended = box.run(
        "sh", "-c", "grep ^0: /proc/self/cgroup; ls /sys/fs/cgroup/cgroup.procs", cgroup="private"
    )
    assert ended.output == "0::/\n/sys/fs/cgroup/cgroup.procs\n"


def test_device_rules_are_enforced(box: Lab) -> None:
    ended = box.run(
        "sh",
        "-c",
        "mknod /mem c 1 1; mknod /full c 1 7; head -c1 /mem; echo x > /full; head -c2 /dev/zero | wc -c",
    )
    assert "/mem: Operation not permitted" in ended.output
    assert "No space left" in ended.output
    assert ended.output.endswith("2\n")


def test_a_device_can_be_given_for_reading_only(box: Lab) -> None:
    ended = box.run(
        "sh",
        "-c",
        ": < /dev/loops && echo read; : > /dev/loops",
        devices=[Device("/dev/loops", "c", 10, 237, permissions="r")],
    )
    assert "can't create /dev/loops: Operation not permitted" in ended.output
    assert ended.output.startswith("read\n")


def test_exec_is_in_the_group_too(box: Lab) -> None:
    async def work() -> tuple[list[int], list[int]]:
        bundle = box.bundle("sleep", "1000")
        first = await box.launcher.run(bundle.name, bundle)
        second = await box.launcher.exec(
            bundle.name, "more", process_spec(["sleep", "1000"], env=["PATH=/bin"])
        )
        found = box.launcher.processes(bundle.name)
        box.launcher.kill(bundle.name, signal.SIGKILL)
        await first.exited
        return found, [first.pid, second.pid]

    found, expected = box.wait(work())
    assert sorted(found) == sorted(expected)


def test_pause(box: Lab) -> None:
    async def work() -> tuple[str, int]:
        bundle = box.bundle("sleep", "1000")
        started = await box.launcher.run(bundle.name, bundle)
        await box.launcher.pause(bundle.name)
        directory = box.launcher._cgroups.directory(bundle.name, "")
        assert directory is not None
        events = (directory / "cgroup.events").read_text()
        box.launcher.kill(bundle.name, signal.SIGKILL)  # v2 lets a frozen process die
        return events, await started.exited

    events, code = box.wait(work())
    assert "frozen 1" in events
    assert code == 137


def test_what_the_tree_cannot_limit_is_said(box: Lab) -> None:
    warnings = box.launcher.unenforceable(Resources(memory=2**26, pids_limit=5))
    missing = {"memory", "pids"} - box.launcher._cgroups.controllers
    assert len(warnings) == len(missing)
    limits = box.launcher.limits()
    assert any("memory" in limit for limit in limits) == ("memory" in missing)


def test_it_all_goes(root: None, tmp_path: Path) -> None:
    async def work() -> None:
        launcher = await Launcher.start(tmp_path, detect_v2(tmp_path))
        await launcher.close()

    asyncio.run(work())
    assert list(Path("/sys/fs/cgroup/unified").rglob(engine_name(tmp_path))) == []
