"""`docker stats`: what a container uses, once or every second."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkernel.engine.containers.container import Container
from labkernel.engine.timestamps import ZERO, rfc3339

if TYPE_CHECKING:
    from labkernel.engine.engine import Engine

INTERVAL = 1.0
_BLKIO = (
    "io_service_bytes_recursive io_serviced_recursive io_queue_recursive io_service_time_recursive "
    "io_wait_time_recursive io_merged_recursive io_time_recursive sectors_recursive"
).split()


async def samples(
    engine: Engine, container: Container, *, stream: bool, one_shot: bool
) -> AsyncIterator[dict[str, Any]]:
    """Samples as `GET /containers/{id}/stats` sends them: each holds the one before it as `precpu_stats`."""
    previous: dict[str, Any] | None = None
    if not stream and not one_shot:
        previous = await asyncio.to_thread(sample, engine, container, None)
        await asyncio.sleep(INTERVAL)
    while True:
        current = await asyncio.to_thread(sample, engine, container, previous)
        if stream and container.state.status == "removing":
            return
        yield current
        if not stream:
            return
        previous = current
        await asyncio.sleep(INTERVAL)


def sample(engine: Engine, container: Container, previous: dict[str, Any] | None) -> dict[str, Any]:
    """What the container uses now; of one that does not run nothing is read, and that at no time."""
    running = container.state.running
    empty = {
        "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
    }
    found: dict[str, Any] = {
        "read": rfc3339() if running else ZERO,
        "preread": previous["read"] if previous else ZERO,
        "pids_stats": {},
        "blkio_stats": dict.fromkeys(_BLKIO),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": empty,
        "precpu_stats": previous["cpu_stats"] if previous else empty,
        "memory_stats": {},
        "name": f"/{container.name}",
        "id": container.id,
    }
    if running:
        found |= engine.launcher.stats(container.id)
        found["cpu_stats"]["system_cpu_usage"] = _system_cpu_usage()
        found["cpu_stats"]["online_cpus"] = len(os.sched_getaffinity(0))
        enforced = container.host_config["Memory"] if "memory" in engine.launcher.controllers else 0
        if found["memory_stats"]:
            found["memory_stats"]["limit"] = enforced or engine.total_memory
        if interfaces := _interfaces(container.state.pid):
            found["networks"] = interfaces
    return found


def _system_cpu_usage() -> int:
    """Nanoseconds that all processors of the machine have spent, on anything (proc(5), /proc/stat)."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = file.readline().split()[1:8]
    return sum(map(int, fields)) * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


def _interfaces(pid: int) -> dict[str, dict[str, int]]:
    """Bytes and packets of each interface in the container's network namespace (proc(5), /proc/net/dev)."""
    names = ("bytes", "packets", "errors", "dropped")
    found = {}
    try:
        lines = Path(f"/proc/{pid}/net/dev").read_text(encoding="ascii").splitlines()[2:]
    except OSError:
        return {}
    for line in lines:
        name, _, rest = line.partition(":")
        fields = list(map(int, rest.split()))
        if name.strip() != "lo":
            received = {f"rx_{key}": fields[index] for index, key in enumerate(names)}
            sent = {f"tx_{key}": fields[index + 8] for index, key in enumerate(names)}
            found[name.strip()] = received | sent
    return found
