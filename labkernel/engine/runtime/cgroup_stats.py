"""What control groups have counted, in the form of Docker's GET /containers/{id}/stats. Reads, changes
nothing.

A file that is not there (a controller that is not used) leaves its part out, as Docker does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NANOSECONDS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
#: v1 writes this where there is no limit: the largest multiple of a page.
UNLIMITED = 2**62


def read_v1(directories: Mapping[str, Path]) -> dict[str, Any]:
    """From a container's directory in each v1 controller."""
    found: dict[str, Any] = {}
    if "cpuacct" in directories:
        top = directories["cpuacct"]
        ticks = _pairs(_text(top / "cpuacct.stat"))
        found["cpu_stats"] = _cpu(
            _number(_text(top / "cpuacct.usage")),
            ticks.get("user", 0) * NANOSECONDS_PER_TICK,
            ticks.get("system", 0) * NANOSECONDS_PER_TICK,
            [int(part) for part in _text(top / "cpuacct.usage_percpu").split()],
            _throttling(_pairs(_text(directories["cpu"] / "cpu.stat")) if "cpu" in directories else {}, 1),
        )
    if "memory" in directories:
        top = directories["memory"]
        found["memory_stats"] = {
            "usage": _number(_text(top / "memory.usage_in_bytes")),
            "max_usage": _number(_text(top / "memory.max_usage_in_bytes")),
            "stats": _pairs(_text(top / "memory.stat")),
            "limit": _limit(_text(top / "memory.limit_in_bytes")),
        }
        if failures := _number(_text(top / "memory.failcnt")):
            found["memory_stats"]["failcnt"] = failures
    found["pids_stats"] = {}
    if "pids" in directories and (directories["pids"] / "pids.current").exists():
        found["pids_stats"] = {"current": _number(_text(directories["pids"] / "pids.current"))}
        limit = _text(directories["pids"] / "pids.max").strip()
        if limit.isdecimal():
            found["pids_stats"]["limit"] = int(limit)
    elif "cpuacct" in directories:
        # Without the pids controller the threads can still be counted.
        found["pids_stats"] = {"current": len(_text(directories["cpuacct"] / "tasks").split())}
    found["blkio_stats"] = _no_blkio()
    if "blkio" in directories:
        for key, name in (
            ("io_service_bytes_recursive", "blkio.throttle.io_service_bytes"),
            ("io_serviced_recursive", "blkio.throttle.io_serviced"),
        ):
            found["blkio_stats"][key] = _v1_operations(_text(directories["blkio"] / name))
    return found


def read_v2(directory: Path) -> dict[str, Any]:
    """From a container's directory in the v2 tree."""
    cpu = _pairs(_text(directory / "cpu.stat"))
    found: dict[str, Any] = {
        "cpu_stats": _cpu(
            cpu.get("usage_usec", 0) * 1000,
            cpu.get("user_usec", 0) * 1000,
            cpu.get("system_usec", 0) * 1000,
            [],
            _throttling(cpu, 1000),
        ),
        "pids_stats": {},
        "blkio_stats": _no_blkio(),
    }
    memory = _pairs(_text(directory / "memory.stat"))
    if memory:
        found["memory_stats"] = {
            "usage": _number(_text(directory / "memory.current")),
            "stats": memory,
            "limit": _limit(_text(directory / "memory.max")),
        }
    current, limit = _text(directory / "pids.current").strip(), _text(directory / "pids.max").strip()
    if current:
        found["pids_stats"]["current"] = int(current)
    else:
        found["pids_stats"]["current"] = len(_text(directory / "cgroup.threads").split())
    if limit.isdecimal():
        found["pids_stats"]["limit"] = int(limit)
    found["blkio_stats"]["io_service_bytes_recursive"] = _v2_operations(
        _text(directory / "io.stat"), {"rbytes": "read", "wbytes": "write"}
    )
    return found


def _cpu(total: int, user: int, system: int, each: list[int], throttling: dict[str, int]) -> dict[str, Any]:
    usage: dict[str, Any] = {"total_usage": total, "usage_in_kernelmode": system, "usage_in_usermode": user}
    if each:
        usage["percpu_usage"] = each
    return {
        "cpu_usage": usage,
        "system_cpu_usage": system_cpu_usage(_text(Path("/proc/stat"))),
        "online_cpus": os.cpu_count() or 1,
        "throttling_data": throttling,
    }


def _throttling(stat: Mapping[str, int], microsecond: int) -> dict[str, int]:
    time = stat["throttled_usec"] * microsecond if "throttled_usec" in stat else stat.get("throttled_time", 0)
    return {
        "periods": stat.get("nr_periods", 0),
        "throttled_periods": stat.get("nr_throttled", 0),
        "throttled_time": time,
    }


def system_cpu_usage(proc_stat: str) -> int:
    """Nanoseconds that all CPUs have spent since boot, by the first line of /proc/stat: what percentages
    refer to.
    """
    fields = proc_stat.split("\n", 1)[0].split()[1:8]
    return sum(int(field) for field in fields) * NANOSECONDS_PER_TICK


def total_memory() -> int:
    """The machine's memory in bytes: the limit of who has none."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _limit(text: str) -> int:
    value = text.strip()
    if not value.isdecimal() or int(value) > UNLIMITED:
        return total_memory()
    return min(int(value), total_memory())


def _no_blkio() -> dict[str, Any]:
    names = (
        "io_service_bytes_recursive",
        "io_serviced_recursive",
        "io_queue_recursive",
        "io_service_time_recursive",
        "io_wait_time_recursive",
        "io_merged_recursive",
        "io_time_recursive",
        "sectors_recursive",
    )
    return dict.fromkeys(names)


def _v1_operations(text: str) -> list[dict[str, Any]]:
    """Lines such as "8:0 Read 4096"; the last is the total of all, which has no device."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 3:
            major, minor = fields[0].split(":")
            found.append(
                {"major": int(major), "minor": int(minor), "op": fields[1].lower(), "value": int(fields[2])}
            )
    return found


def _v2_operations(text: str, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Lines such as "8:0 rbytes=4096 wbytes=0 rios=1 ..."."""
    found = []
    for line in text.splitlines():
        device, *fields = line.split()
        major, minor = device.split(":")
        for field in fields:
            key, _, value = field.partition("=")
            if key in names:
                found.append(
                    {"major": int(major), "minor": int(minor), "op": names[key], "value": int(value)}
                )
    return found


def _pairs(text: str) -> dict[str, int]:
    """Lines of a name and a number."""
    fields = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in fields if len(pair) == 2}


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _number(text: str) -> int:
    return int(text.strip() or 0)
