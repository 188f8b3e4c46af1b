"""An engine's networks in a process of their own, with one container that serves on port 80; run by the
tests.

    python -m tests.engine.network.lone_engine DIRECTORY root|user [FETCH_ADDRESS FETCH_PORT]

Writes to DIRECTORY/report.json what it got, among it what a second container read from FETCH_ADDRESS and from
the first container, then waits for SIGTERM, and closes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labkernel.engine.database import Database
from labkernel.engine.errors import EngineError
from labkernel.engine.network.networks import Networks
from labkernel.engine.network.ports import requested_ports
from tests.engine.network.places import connect, fetch, says, tcp_server, wait_for
from tests.support.source_tree import REPOSITORY

PORT = 8080


async def main(directory: Path, privilege: str, outside: list[str]) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    database = Database(directory / "engine.db")
    networks = await Networks.open(state_dir=directory, database=database, rootless=privilege == "user")
    report: dict[str, Any] = {"limits": networks.limits()}
    ports = requested_ports({"PortBindings": {"80/tcp": [{"HostPort": str(PORT)}]}})
    web = await connect(networks, "web", "bridge", name="web", ports=ports)
    other = await connect(networks, "other", "bridge", name="other")
    assert web.netns_path
    try:
        low = requested_ports({"PortBindings": {"80/tcp": [{"HostPort": "80"}]}})
        await connect(networks, "low", "bridge", name="low", ports=low)
    except EngineError as error:
        report["low port"] = [error.message, error.hint]
    with tcp_server(web.netns_path, 80, says(b"web")):
        report |= {"web": dataclasses.asdict(web), "limits once used": networks.limits()}
        sandbox = networks.sandbox("web")
        assert sandbox
        report["host address"] = sandbox.host_address
        report["warnings"] = [
            await networks.warnings(names) for names in (["bridge", "x"], ["host"], ["none"])
        ]
        places = {"container": (web.address, 80)}
        if outside:
            places["outside"] = (outside[0], int(outside[1]))
        for name, (address, port) in places.items():
            try:
                report[name] = (
                    await asyncio.to_thread(fetch, address, port, netns=other.netns_path)
                ).decode()
            except OSError as error:
                report[name] = str(error)
        partial = directory / "report.tmp"
        partial.write_text(json.dumps(report))
        partial.rename(directory / "report.json")
        await ended.wait()
    await networks.close()
    database.close()


@contextmanager
def running_alone(
    directory: Path, prefix: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """The process and its report; it runs as root. `prefix` are words before the command."""
    report = directory / "report.json"
    report.unlink(missing_ok=True)
    with subprocess.Popen(
        [*prefix, sys.executable, "-m", "tests.engine.network.lone_engine", str(directory), "root"],
        cwd=REPOSITORY,
    ) as process:
        try:
            wait_for(lambda: report.exists() or process.poll() is not None, 10)
            yield process, json.loads(report.read_text())
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
