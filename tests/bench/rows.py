"""What is measured: each function does one thing on every daemon, in turn, and returns rows of the table."""

from __future__ import annotations

import io
import random
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.builds import independent_stages, many_steps, one_file_change
from tests.bench.grading import plain_notebooks
from tests.bench.measure import Row, alternated, seconds
from tests.bench.places import Crun
from tests.bench.registry import push_and_pull
from tests.differential.scenarios.files import archive
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


_STEPS = "".join(f"RUN echo {number} > /{number}\nCOPY file /file{number}\n" for number in range(5))


def cached_rebuild(daemons: Daemons, place: Path) -> list[Row]:
    context = archive({"Dockerfile": f"FROM busybox\n{_STEPS}", "file": "text\n" * 1000})
    samples = alternated(10, {name: lambda d=daemon: _build(d, context) for name, daemon in daemons.items()})
    return [Row("rebuild, nothing changed, 10 steps", samples, goals={"dockerd": 5})]


def run_steps(daemons: Daemons, place: Path) -> list[Row]:
    """Ten RUN true without the cache; the time of one."""
    context = archive({"Dockerfile": "FROM busybox\n" + "RUN true\n" * 10})

    def once(daemon: Daemon) -> float:
        return _build(daemon, context, nocache=True) / 10

    samples = alternated(3, {name: lambda d=daemon: once(d) for name, daemon in daemons.items()})
    return [Row("RUN true, each step", samples, goals={"dockerd": 5})]


def copy_tree(daemons: Daemons, place: Path) -> list[Row]:
    """COPY of 250 MB in 12,000 files. The context is a tar made before: the client is not measured."""
    context = place / "context.tar"
    _write_tree(context, files=12_000, folders=1_390, total=250_000_000)

    def once(daemon: Daemon, *, nocache: bool) -> float:
        with context.open("rb") as body:
            return _build(daemon, body, nocache=nocache)

    cold = {name: lambda d=daemon: once(d, nocache=True) for name, daemon in daemons.items()}
    first = alternated(2, cold, warm_up=0)
    again = alternated(3, {name: lambda d=daemon: once(d, nocache=False) for name, daemon in daemons.items()})
    context.unlink()
    return [
        Row("COPY of 250 MB in 12,000 files", first, goals={"dockerd": 5}),
        Row("the same, cached", again, goals={"dockerd": 5}),
    ]


def _build(daemon: Daemon, context: bytes | io.BufferedReader, *, nocache: bool = False) -> float:
    client = daemon.client(timeout=300).api
    body = io.BytesIO(context) if isinstance(context, bytes) else context

    def build() -> None:
        messages = client.build(
            fileobj=body, custom_context=True, nocache=nocache, rm=True, tag="bench", decode=True
        )
        last = [message for message in messages if "stream" in message or "error" in message][-1]
        assert "Successfully tagged" in last.get("stream", ""), last

    taken = seconds(build)
    client.close()
    return taken


def _write_tree(path: Path, *, files: int, folders: int, total: int) -> None:
    """A context whose Dockerfile copies it: a tree of random files, most of them small."""
    random.seed(0)
    sizes = [random.paretovariate(1.2) for _ in range(files)]
    scale = total / sum(sizes)
    names = [f"tree/{number % 37}/{number}" for number in range(folders)]
    with tarfile.open(path, "w") as tar:

        def add(name: str, data: bytes | None) -> None:
            member = tarfile.TarInfo(name)
            member.type, member.mode = (tarfile.DIRTYPE, 0o755) if data is None else (tarfile.REGTYPE, 0o644)
            member.size = len(data or b"")
            tar.addfile(member, io.BytesIO(data or b""))

        add("Dockerfile", b"FROM busybox\nCOPY tree /tree\n")
        for name in ["tree", *(f"tree/{number}" for number in range(37)), *names]:
            add(name, None)
        for number, size in enumerate(sizes):
            add(f"{names[number % folders]}/file{number}", random.randbytes(int(size * scale)))


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
    "run": run_steps,
    "stages": independent_stages,
    "steps": many_steps,
    "change": one_file_change,
    "copy": copy_tree,
    "registry": push_and_pull,
    "idle": idle_containers,
    "import": importing,
    "grading": plain_notebooks,
}
