"""What is measured: each function does one thing on every daemon, in turn, and returns rows of the table."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.builds import cached_rebuild, copy_tree, independent_stages, many_steps, one_file_change
from tests.bench.grading import plain_notebooks
from tests.bench.measure import Row, alternated, seconds
from tests.bench.places import Crun
from tests.bench.registry import push_and_pull
from tests.support.daemons import Daemon

Daemons = dict[str, Daemon]


def api_round(daemons: Daemons, place: Path) -> list[Row]:
    """The four calls of a short container, docker-py's client kept open; crun runs an equal bundle."""
    crun = Crun(place)
    clients = {name: daemon.client().api for name, daemon in daemons.items()}

    def once(name: str) -> float:
        client = clients[name]

        def four_calls() -> None:
            container = client.create_container("busybox", ["true"])["Id"]
            client.start(container)
            assert client.wait(container)["StatusCode"] == 0
            client.remove_container(container)

        return seconds(four_calls)

    samples = alternated(20, {**{name: lambda name=name: once(name) for name in daemons}, "crun": crun.run})
    crun.close()
    return [Row("create+start+wait+remove, docker-py", samples, goals={"dockerd": 20, "crun": 1})]


def stock_client(daemons: Daemons, place: Path) -> list[Row]:
    """`docker run --rm busybox true`, the client started each time."""
    command = ["docker", "run", "--rm", "busybox", "true"]

    def once(daemon: Daemon) -> float:
        environment = daemon.environment()
        return seconds(lambda: subprocess.run(command, env=environment, check=True))

    samples = alternated(15, {name: lambda d=daemon: once(d) for name, daemon in daemons.items()})
    return [Row("docker run --rm busybox true", samples, goals={"dockerd": 10})]


def idle_containers(daemons: Daemons, place: Path, count: int = 100) -> list[Row]:
    """Many containers that sleep: the time each takes to start, and the memory that each adds."""
    times: dict[str, list[float]] = {}
    memory: dict[str, list[float]] = {}
    for name, daemon in daemons.items():
        client = daemon.client().api
        before = _memory(daemon)
        started: list[str] = []

        def start(client=client, started=started) -> None:  # type: ignore[no-untyped-def]
            container = client.create_container("busybox", ["sleep", "100000"], stop_signal="SIGKILL")["Id"]
            client.start(container)
            started.append(container)

        times[name] = [seconds(start) for _ in range(count)]
        memory[name] = [(_memory(daemon) - before) / count / 1e6]
        with ThreadPoolExecutor(8) as pool:
            list(
                pool.map(
                    lambda container, client=client: client.remove_container(container, force=True), started
                )
            )
    return [
        Row(f"start of each of {count} idle containers", times, goals={"dockerd": 20}),
        Row("memory of each (PSS; engine, helpers, container)", memory, "MB", goals={"dockerd": 20}),
    ]


def _memory(daemon: Daemon) -> int:
    """Bytes that the daemon and all its descendants have in memory, shared pages counted in part (PSS)."""
    total = 0
    for pid, _ in daemon.room.left():
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def importing(daemons: Daemons, place: Path) -> list[Row]:
    """`import labkernel` in a new interpreter, less what the interpreter takes."""

    def once(program: str) -> float:
        return seconds(lambda: subprocess.run([sys.executable, "-c", program], check=True))

    def difference() -> float:
        empty = once("pass")
        return max(0.0, once("import labkernel") - empty)

    return [Row("import labkernel (budget 150 ms)", alternated(10, {"labkernel": difference}))]


ROWS = {
    "api": api_round,
    "client": stock_client,
    "cached": cached_rebuild,
    "stages": independent_stages,
    "steps": many_steps,
    "change": one_file_change,
    "copy": copy_tree,
    "registry": push_and_pull,
    "idle": idle_containers,
    "import": importing,
    "grading": plain_notebooks,
}
