"""labkernel engine start, status, stop, serve, and images make: an engine of its own for each test."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.cli.conftest import LABKERNEL
from tests.support.base_images import busybox_archive
from tests.support.leaks import Leftovers, settled
from tests.support.room import Room

Run = Callable[..., subprocess.CompletedProcess[str]]
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}


@pytest.fixture
def place(root: None) -> Iterator[Path]:
    """An empty directory with a short path."""
    with tempfile.TemporaryDirectory(prefix="lk-") as directory:
        yield Path(directory)


@pytest.fixture
def labkernel(place: Path) -> Iterator[Run]:
    """Runs `labkernel ARGS` in one room, its engine's root below `place`. No engine is left at the end."""
    room = Room()
    engine_root = place / "root"
    before = Leftovers.of(room, engine_root)

    def run(
        *argv: str, before_it: Sequence[str] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        # A log, not a pipe: the engine that is started keeps its descriptors.
        env = {**ENVIRONMENT, "LABKERNEL_ROOT": str(engine_root), **environment}
        log = place / "log"
        log.unlink(missing_ok=True)
        code = room.wait(room.start([*before_it, *LABKERNEL, *argv], env=env, log=log), 60)
        return subprocess.CompletedProcess(argv, code, log.read_text())

    try:
        yield run
        run("engine", "stop")
        before.compare(settled(room, before, root=engine_root))
    finally:
        room.close()


def test_start_status_stop(labkernel: Run, place: Path) -> None:
    assert labkernel("engine", "status").returncode == 3
    address = f"unix://{place}/root/engine.sock"
    assert labkernel("engine", "start").stdout == f"{address}\n"
    assert labkernel("engine", "start").stdout == f"{address}\n"
    status = labkernel("engine", "status")
    assert status.returncode == 0
    assert status.stdout.startswith("the engine is running\n")
    for line in (f"  host:    {address}", f"  root:    {place}/root", ", as root"):
        assert line in status.stdout
    assert labkernel("engine", "stop").stdout == f"stopped the engine at {address}\n"
    assert labkernel("engine", "stop").stdout == f"no engine was running at {address}\n"
    assert labkernel("engine", "status").returncode == 3


def test_docker_host_names_another_engine_than_these_commands_are_about(labkernel: Run, place: Path) -> None:
    address = labkernel("engine", "start").stdout.strip()
    note = (
        "note: DOCKER_HOST names another engine, unix:///nowhere: `labkernel engine` is about labkernel's own"
    )
    for argv in (["engine", "status"], ["engine", "stop"], ["engine", "stop"], ["engine", "status"]):
        ended = labkernel(*argv, DOCKER_HOST="unix:///nowhere")
        assert note in ended.stdout.splitlines(), ended
        assert address in ended.stdout
    assert "note:" not in labkernel("engine", "status", DOCKER_HOST=address).stdout
    assert "for all but\n`labkernel engine` and `labkernel images make`" in labkernel("--help").stdout


def test_docker_starts_the_engine_when_none_is_chosen(labkernel: Run, place: Path) -> None:
    archive = place / "busybox.tar"
    archive.write_bytes(busybox_archive())
    assert "Loaded image: busybox:latest" in labkernel("images", "load", str(archive)).stdout
    assert labkernel("docker", "run", "--rm", "busybox", "echo", "hi").stdout == "hi\n"
    assert labkernel("docker", "ps", DOCKER_HOST="unix:///nowhere").returncode == 1


def test_another_root_and_host(labkernel: Run, place: Path) -> None:
    flags = ["--root", str(place / "other"), "--host", f"unix://{place}/other.sock"]
    assert labkernel("engine", "start", *flags).stdout == f"unix://{place}/other.sock\n"
    assert labkernel("engine", "status").returncode == 3
    assert f"root:    {place}/other" in labkernel("engine", "status", *flags).stdout
    assert labkernel("engine", "stop", *flags).stdout == f"stopped the engine at unix://{place}/other.sock\n"


def test_an_engine_that_cannot_start_says_why(labkernel: Run, place: Path) -> None:
    (place / "file").write_text("")
    ended = labkernel("engine", "start", "--root", str(place / "file/below"))
    assert ended.returncode == 1
    assert "Traceback" not in ended.stdout
    assert "file/below" in ended.stdout


def test_an_unknown_base_image_is_refused_with_those_it_makes(labkernel: Run) -> None:
    ended = labkernel("images", "make", "debain", DOCKER_HOST="unix:///nowhere")
    assert ended.returncode == 1
    assert "hint:" in ended.stdout
    assert "debian" in ended.stdout


def test_what_is_ignored_where_the_engine_was_started_is_not_ignored_in_containers(
    labkernel: Run, place: Path
) -> None:
    archive = place / "busybox.tar"
    archive.write_bytes(busybox_archive())
    deaf = ["sh", "-c", 'trap "" INT QUIT HUP PIPE; exec "$@"', "sh"]  # as nohup and background jobs have it
    labkernel("images", "load", str(archive), before_it=deaf)
    ignored = labkernel("docker", "run", "--rm", "busybox", "grep", "SigIgn", "/proc/self/status").stdout
    assert ignored.split() == ["SigIgn:", "0000000000000000"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--host", "tcp://127.0.0.1:2376"], "TCP is offered with TLS only"),
        (["--host", "unix:///a", "--host", "unix:///b"], "there is one unix socket already"),
        (["--host", "http://127.0.0.1"], "the engine listens on a unix socket"),
        (["--log-level", "loud"], "not a valid level"),
    ],
)
def test_addresses_and_levels_that_are_refused(
    labkernel: Run, place: Path, flags: list[str], said: str
) -> None:
    for command in ("start", "serve"):
        ended = labkernel("engine", command, *flags)
        assert ended.returncode != 0
        assert said in ended.stdout
        assert "hint:" in ended.stdout
        assert "Traceback" not in ended.stdout


def test_the_level_of_the_log(labkernel: Run, place: Path) -> None:
    labkernel("engine", "start", "--log-level", "error")
    labkernel("engine", "stop")
    assert (place / "root/engine.log").read_text() == ""
    labkernel("engine", "start")
    lines = (place / "root/engine.log").read_text().splitlines()
    assert lines
    assert all(re.match(r'time="[^"]+" level=(info|warning) msg="', line) for line in lines), lines


def test_few_open_files_are_a_limit_that_status_names(labkernel: Run, place: Path) -> None:
    few = ["sh", "-c", 'ulimit -n 1024; exec "$@"', "sh"]
    labkernel("engine", "start", before_it=few)
    assert (
        "    - open files: 1024 at most, and 768 with streams to clients"
        in labkernel("engine", "status").stdout
    )
