"""Processes that join a running container."""

from __future__ import annotations

import os
import signal

import pytest

from labkernel.engine.runtime.spec import process_spec
from tests.engine.runtime.lab import Lab


def test_exec_enters_everything(box: Lab, sleeper: str) -> None:
    ended = box.exec(sleeper, "sh", "-c", "hostname; ps | grep -c 'trap'; cat; exit 3", stdin=b"in\n")
    assert ended.code == 3
    lines = ended.output.split()
    assert lines[0] == "sleeper"
    assert int(lines[1]) >= 1
    assert lines[2] == "in"
    pid = box.launcher._running[sleeper].pid
    for kind in ("mnt", "pid", "uts", "ipc", "net"):
        inside = box.exec(sleeper, "readlink", f"/proc/self/ns/{kind}").output.strip()
        assert inside == os.readlink(f"/proc/{pid}/ns/{kind}")


def test_exec_is_confined_like_the_container(box: Lab, sleeper: str) -> None:
    ended = box.exec(sleeper, "grep", "-E", "CapEff|Seccomp:", "/proc/self/status")
    assert ended.output.split() == ["CapEff:", "00000000a80425fb", "Seccomp:", "2"]


def test_exec_is_counted_with_the_container(box: Lab, sleeper: str) -> None:
    async def work() -> None:
        process = process_spec(["sleep", "1000"], env=["PATH=/bin"])
        started = await box.launcher.exec(sleeper, "counted", process)
        assert started.pid in box.launcher.processes(sleeper)
        assert box.launcher._running[sleeper].pid in box.launcher.processes(sleeper)
        box.launcher.kill("counted", signal.SIGKILL)
        await started.exited

    box.wait(work())


def test_exec_as_a_user_elsewhere(box: Lab, sleeper: str) -> None:
    assert box.exec(sleeper, "sh", "-c", "id -u; pwd", user="daemon", cwd="/tmp").output == "1\n/tmp\n"


def test_exec_has_the_containers_limits(box: Lab) -> None:
    name, started = box.start("sleep", "1000", rlimits={"nofile": (77, 88)}, oom_score_adj=300)
    ended = box.exec(name, "sh", "-c", "ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj; umask")
    assert ended.output.split() == ["77", "88", "300", "0022"]
    box.end(name, started)


def test_exec_that_fails(box: Lab, sleeper: str) -> None:
    with pytest.raises(Exception, match="executable file not found") as caught:
        box.exec(sleeper, "nope")
    assert getattr(caught.value, "kind", None) == "not_found"


def test_exec_in_nothing(box: Lab) -> None:
    with pytest.raises(Exception, match="not running") as caught:
        box.exec("no-such-container", "true")
    assert getattr(caught.value, "kind", None) == "gone"


def test_an_exec_dies_with_its_container(box: Lab) -> None:
    async def work() -> tuple[int, int]:
        bundle = box.bundle("sleep", "1000")
        first = await box.launcher.run(bundle.name, bundle)
        process = process_spec(["sleep", "1000"], env=["PATH=/bin"])
        second = await box.launcher.exec(bundle.name, "second", process)
        box.launcher.kill(bundle.name, signal.SIGKILL)
        return await first.exited, await second.exited

    assert box.wait(work()) == (137, 137)


def test_an_exec_can_be_killed_alone(box: Lab, sleeper: str) -> None:
    async def work() -> int:
        started = await box.launcher.exec(
            sleeper, "alone", process_spec(["sleep", "1000"], env=["PATH=/bin"])
        )
        box.launcher.kill("alone", signal.SIGKILL)
        return await started.exited

    assert box.wait(work()) == 137
    assert box.exec(sleeper, "true").code == 0
