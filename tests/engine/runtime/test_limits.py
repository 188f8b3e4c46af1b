"""Limits that are kept, pausing, and what is counted."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

from labkernel.engine.runtime.spec import Resources
from tests.engine.runtime.lab import Lab


def test_memory_limit_and_oom_kill(box: Lab) -> None:
    ended = box.run(
        "sh", "-c", "head -c 200m /dev/zero | tail -c 150m | wc -c", resources=Resources(memory=32 * 2**20)
    )
    assert "157286400" not in ended.output
    ended = box.run("tail", "-c", "150m", "/dev/zero", resources=Resources(memory=32 * 2**20))
    assert ended.code == 137
    assert ended.started.oom_killed


def test_a_container_that_is_just_killed_is_not_out_of_memory(box: Lab) -> None:
    name, started = box.start("sleep", "1000", resources=Resources(memory=32 * 2**20))
    box.end(name, started)
    assert not started.oom_killed


def test_pids_limit(box: Lab) -> None:
    ended = box.run(
        "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done", resources=Resources(pids_limit=4)
    )
    assert "can't fork" in ended.output


def test_pause_stops_it_and_resume_lets_it_go_on(box: Lab) -> None:
    async def work() -> tuple[int, int, int]:
        bundle = box.bundle("sh", "-c", "while :; do echo x >> /tmp/ticks; sleep 0.01; done")
        started = await box.launcher.run(bundle.name, bundle)
        ticks = bundle / "upper" / "tmp" / "ticks"
        while not ticks.exists():
            await asyncio.sleep(0.01)
        await box.launcher.pause(bundle.name)
        first = ticks.stat().st_size
        await asyncio.sleep(0.2)
        second = ticks.stat().st_size
        await box.launcher.resume(bundle.name)
        while ticks.stat().st_size == second:
            await asyncio.sleep(0.01)
        await box.launcher.pause(bundle.name)
        box.launcher.kill(bundle.name, signal.SIGKILL)
        return first, second, await started.exited

    first, second, code = box.wait(work())
    assert first == second
    assert code == 137


def test_update_changes_the_limits_of_a_running_container(box: Lab) -> None:
    name, started = box.start("sleep", "1000", resources=Resources(memory=64 * 2**20))
    assert (
        box.wait(
            box.launcher.update(name, Resources(memory=256 * 2**20, pids_limit=9, nano_cpus=500_000_000))
        )
        == []
    )
    stats = box.launcher.stats(name)
    assert stats["memory_stats"]["limit"] == 256 * 2**20
    assert stats["pids_stats"]["limit"] == 9
    assert box.wait(box.launcher.update(name, Resources(memory=32 * 2**20))) == []
    assert box.launcher.stats(name)["memory_stats"]["limit"] == 32 * 2**20
    box.end(name, started)


def test_stats_count_what_is_used(box: Lab) -> None:
    name, started = box.start("sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exec sleep 1000")
    deadline = time.monotonic() + 10
    while b"sleep" not in Path(f"/proc/{started.pid}/cmdline").read_bytes() and time.monotonic() < deadline:
        time.sleep(0.02)
    stats = box.launcher.stats(name)
    assert stats["cpu_stats"]["cpu_usage"]["total_usage"] > 1_000_000
    assert stats["cpu_stats"]["system_cpu_usage"] > stats["cpu_stats"]["cpu_usage"]["total_usage"]
    assert stats["memory_stats"]["usage"] > 0
    assert stats["pids_stats"]["current"] == 1
    box.end(name, started)
