"""docker stats: what containers use of CPU, memory, network and disk."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.flags import switch, text
from labkernel.commands.http import call
from labkernel.commands.results import Listing, Result
from labkernel.commands.units import human_size

if TYPE_CHECKING:
    from docker import DockerClient

HEADINGS = {
    "Container": "CONTAINER",
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")


def stats(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    """One table; unless --no-stream, shown again and again in place until it is interrupted."""
    options = invocation.options
    try:
        while True:
            listing = _once(client, invocation)
            if options["no-stream"]:
                return listing
            for index, line in enumerate(listing.text.splitlines()):
                console.progress(f"stats {index}", line)
            time.sleep(0.5)
    except KeyboardInterrupt:
        console.progress_done()
        return Listing([], [], HEADINGS, COLUMNS, "{{.ID}}")


def _once(client: DockerClient, invocation: Invocation) -> Listing:
    options = invocation.options
    names = list(invocation.arguments)
    if not names:
        names = [str(container["Id"]) for container in client.api.containers(all=options["all"])]

    def sample(name: str) -> dict[str, Any]:
        found: dict[str, Any] = call(
            client, "GET", f"/containers/{quote(name)}/stats", params={"stream": "0"}
        ).json()
        return found

    with ThreadPoolExecutor(
        max_workers=max(min(len(names), 16), 1)
    ) as pool:  # each takes the engine a second
        found = list(pool.map(sample, names))
    rows = [
        row(entry, name, truncate=not options["no-trunc"]) for entry, name in zip(found, names, strict=True)
    ]
    return Listing(rows, found, HEADINGS, COLUMNS, options["format"])


def row(entry: Mapping[str, Any], name: str, *, truncate: bool) -> dict[str, str]:
    """The fields of one GET /containers/ID/stats, named as --format names them."""
    used, limit = memory(entry.get("memory_stats") or {})
    received, sent = network(entry.get("networks") or {})
    read, written = block_io(entry.get("blkio_stats") or {})
    container = str(entry.get("id") or entry.get("Id") or name)
    return {
        "Container": name,
        "ID": container[:12] if truncate else container,
        "Name": str(entry.get("name", "--")).lstrip("/"),
        "CPUPerc": f"{cpu_percent(entry):.2f}%",
        "MemUsage": f"{human_size(used, base=1024.0)} / {human_size(limit, base=1024.0)}",
        "MemPerc": f"{100 * used / limit if limit else 0:.2f}%",
        "NetIO": f"{human_size(received, precision=3)} / {human_size(sent, precision=3)}",
        "BlockIO": f"{human_size(read, precision=3)} / {human_size(written, precision=3)}",
        "PIDs": str((entry.get("pids_stats") or {}).get("current", 0)),
    }


def cpu_percent(entry: Mapping[str, Any]) -> float:
    """CPU time since the sample before, as a share of one CPU in percent: two busy CPUs are 200."""
    now, before = entry.get("cpu_stats") or {}, entry.get("precpu_stats") or {}
    used = now.get("cpu_usage", {}).get("total_usage", 0) - before.get("cpu_usage", {}).get("total_usage", 0)
    whole = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    cpus = now.get("online_cpus") or len(now.get("cpu_usage", {}).get("percpu_usage") or []) or 1
    return float(used / whole * cpus * 100) if used > 0 and whole > 0 else 0.0


def memory(entry: Mapping[str, Any]) -> tuple[int, int]:
    """(bytes in use without the page cache that can go at once, limit)."""
    details = entry.get("stats") or {}
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))  # cgroup v1, v2
    used = int(entry.get("usage", 0))
    return (used - cache if cache < used else used), int(entry.get("limit", 0))


def network(entry: Mapping[str, Mapping[str, int]]) -> tuple[int, int]:
    """(bytes received, bytes sent) over all interfaces."""
    return sum(i["rx_bytes"] for i in entry.values()), sum(i["tx_bytes"] for i in entry.values())


def block_io(entry: Mapping[str, Any]) -> tuple[int, int]:
    """(bytes read, bytes written) over all devices."""
    operations = entry.get("io_service_bytes_recursive") or []
    read = sum(operation["value"] for operation in operations if operation["op"].lower() == "read")
    return read, sum(operation["value"] for operation in operations if operation["op"].lower() == "write")


STATS = Command(
    "stats",
    "[OPTIONS] [CONTAINER...]",
    "Show what containers use of CPU, memory, network and disk",
    stats,
    (
        switch("all", "a", "Show stopped containers as well"),
        text("format", "", "Rows by a Go template, such as '{{.Name}}'; 'table ...' adds headings; 'json'"),
        switch("no-stream", "", "Show one table and stop"),
        switch("no-trunc", "", "Show ids in full"),
    ),
)
