from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import LABKERNEL, Run
from tests.support.daemons import Daemon
from tests.support.room import wait_until


def plain(*argv: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """`labkernel ARGS` where no engine can be reached."""
    env = {**os.environ, "DOCKER_HOST": "unix:///nonexistent/engine.sock", **environment}
    return subprocess.run(
        [*LABKERNEL, *argv], capture_output=True, text=True, env=env, cwd=cwd, timeout=60, check=False
    )


@pytest.mark.parametrize("argv", [["--version"], ["-v"]])
def test_the_version_needs_neither_engine_nor_docker_package(argv: list[str]) -> None:
    ended = plain(*argv, PYTHONPROFILEIMPORTTIME="1")
    assert ended.stdout.startswith("labkernel 0.")
    assert "docker" not in ended.stderr
    assert "labkernel.commands" not in ended.stderr


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--help"],
        ["help"],
        *(["engine", *rest] for rest in ([], ["--help"], ["start", "--help"], ["serve", "--help"])),
        *(["images", *rest] for rest in ([], ["make", "--help"], ["save", "--help"], ["load", "--help"])),
        ["lab", "--help"],
        ["docker"],
        ["docker", "--help"],
        ["docker", "run", "--help"],
        ["docker", "image", "--help"],
    ],
    ids=" ".join,
)
def test_help_needs_no_engine(argv: list[str]) -> None:
    ended = plain(*argv)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("Usage:  ")


@pytest.mark.parametrize(
    ("argv", "code", "block"),
    [
        (["dcoker", "ps"], 1, ["unknown command: labkernel dcoker", "did you mean `labkernel docker`?"]),
        (["engine", "strat"], 1, ["unknown command: labkernel engine strat", "`labkernel engine start`?"]),
        (["engine", "stat"], 1, ["unknown command: labkernel engine stat", "`labkernel engine status`?"]),
        (["docker", "cd", "x"], 1, ["unknown command: docker cd", "`%cd DIRECTORY` goes there"]),
        (["docker", "for", "x"], 1, ["unknown command: docker for", "`for` is for a shell"]),
        (["engine", "start", "--rot", "/x"], 125, ["unknown flag: --rot", "did you mean --root?"]),
        (["engine", "start", "--host", "foo://x"], 125, ["the engine listens on a unix socket"]),
        (["engine", "start", "--host", "tcp://x"], 1, ["TCP is offered with TLS only", "--tlsverify"]),
        (["images", "make"], 1, ["requires at least 1 argument"]),
        (["images", "load"], 1, ["say which archive to load"]),
        (["docker", "run", "--memroy", "1m", "x"], 125, ["unknown flag: --memroy", "did you mean --memory?"]),
        (["docker", "ps"], 1, ["Cannot connect to the Docker daemon at", "labkernel engine start"]),
        (["docker", "ps"], 1, ["where: docker ps", "after `unset DOCKER_HOST` commands use labkernel's own"]),
        (["images", "save", "-o", "x"], 1, ["Cannot connect to the Docker daemon", "labkernel engine start"]),
    ],
)  # fmt: skip
def test_a_failure_is_one_block_with_a_hint(argv: list[str], code: int, block: list[str]) -> None:
    ended = plain(*argv)
    assert (ended.returncode, ended.stdout) == (code, "")
    for words in ["hint: ", *block]:
        assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) <= 4


def test_an_address_that_is_none() -> None:
    ended = plain("docker", "ps", DOCKER_HOST="bogus")
    assert ended.returncode == 1
    first, where, hint = ended.stderr.splitlines()
    assert "bogus" in first
    assert where == "where: docker ps"
    assert hint.startswith(
        "hint:  an address is unix:///run/docker.sock or tcp://HOST:2375; after `unset DOCKER_HOST`"
    )


def test_a_socket_that_may_not_be_opened(user_with_one_id: str, engine: Daemon) -> None:
    command = ["setpriv", f"--reuid={user_with_one_id}", "--clear-groups", *LABKERNEL, "docker", "ps"]
    ended = subprocess.run(
        command, capture_output=True, text=True, env=engine.environment(), timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "permission denied while trying to connect" in ended.stderr
    assert "hint: " in ended.stderr


def test_streams_and_the_exit_code_are_the_containers(labkernel: Run) -> None:
    ended = labkernel("docker", "run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "out\n", "err\n")


@pytest.mark.parametrize(
    ("argv", "code"),
    [(["busybox", "nosuch"], 127), (["busybox", "/etc"], 126), (["-p", "x", "busybox"], 125)],
)
def test_exit_codes_of_what_does_not_start(labkernel: Run, argv: list[str], code: int) -> None:
    assert labkernel("docker", "run", "--rm", *argv).returncode == code


def test_standard_input_goes_to_the_container_and_ends_there(labkernel: Run) -> None:
    ended = labkernel("docker", "run", "-i", "--rm", "busybox", "wc", "-c", input="x" * 200_000)
    assert ended.stdout == "200000\n"


def test_a_dockerfile_on_standard_input(labkernel: Run) -> None:
    ended = labkernel("docker", "build", "-q", "-t", "me/x", "-", input="FROM busybox\nCMD echo hi\n")
    assert ended.stdout.startswith("sha256:")
    assert labkernel("docker", "run", "--rm", "me/x").stdout == "hi\n"


def test_a_reader_that_goes_away_ends_the_container(docker_host: Daemon) -> None:
    command = " ".join([*LABKERNEL, "docker", "run", "--rm", "busybox", "yes", "| head -n 1"])
    ended = docker_host.run(["sh", "-c", command])
    assert (ended.stdout, ended.stderr) == ("y\n", "")
    for _ in wait_until(10):
        if docker_host.docker("ps", "-q").stdout == "":
            break


@pytest.fixture
def background(docker_host: Daemon) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes to be ended whatever becomes of the test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def begin(docker_host: Daemon, background: list[subprocess.Popen[str]], *argv: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*LABKERNEL, "docker", *argv],
        env=docker_host.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    background.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGINT, "INT"), (signal.SIGTERM, "TERM"), (signal.SIGHUP, "HUP")]
)
def test_a_signal_is_the_containers(
    docker_host: Daemon, background: list[subprocess.Popen[str]], number: signal.Signals, name: str
) -> None:
    script = f"trap 'echo caught; exit 7' {name}; echo ready; while :; do sleep 0.05; done"
    process = begin(docker_host, background, "run", "--rm", "busybox", "sh", "-c", script)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (7, "caught\n", "")


def test_the_third_interrupt_leaves_the_container(
    docker_host: Daemon, background: list[subprocess.Popen[str]]
) -> None:
    script = "trap '' INT; echo ready; exec sleep 1000"
    process = begin(docker_host, background, "run", "--name", "stubborn", "busybox", "sh", "-c", script)
    for _ in wait_until(20, 0.3):
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "once more leaves it running" in err
    assert "hint:  docker stop" in err
    assert docker_host.docker("ps", "--format", "{{.Names}}").stdout == "stubborn\n"


def test_an_interrupt_ends_following_and_not_the_container(
    docker_host: Daemon, background: list[subprocess.Popen[str]]
) -> None:
    script = "while :; do echo ready; sleep 0.1; done"
    docker_host.docker("run", "-d", "--name", "writer", "busybox", "sh", "-c", script)
    process = begin(docker_host, background, "logs", "-f", "writer")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert docker_host.docker("ps", "--format", "{{.Names}}").stdout == "writer\n"


def test_images_to_one_archive_and_back(labkernel: Run, docker_host: Daemon, tmp_path: Path) -> None:
    archive = str(tmp_path / "classroom.tar")
    docker_host.docker("tag", "busybox", "me/copy:1")
    saved = labkernel("images", "save", "-o", archive)
    assert sorted(saved.stdout.splitlines()) == ["Saved busybox:latest", "Saved me/copy:1"]
    docker_host.docker("rmi", "me/copy:1")
    assert "Loaded image: me/copy:1" in labkernel("images", "load", archive).stdout
    assert docker_host.docker("images", "-q", "me/copy:1").stdout


def test_a_build_says_why_a_step_was_run_again(labkernel: Run, docker_host: Daemon, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("1\n")
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY . /explained\nRUN echo pip install -r x\n")
    build = ("docker", "build", "--explain", "-t", "me/cli-explained", str(tmp_path))
    assert labkernel(*build).returncode == 0
    (tmp_path / "app.py").write_text("123\n")
    said = labkernel(*build).stdout
    if docker_host.kind == "dockerd":
        assert "from the cache" not in said
    else:
        assert "step 2 COPY . /explained: because app.py changed (2B -> 4B)\n" in said
        assert "step 3 RUN echo pip install -r x: because step 2 was run again\n" in said
        assert "hint: COPY requirements.txt first" in said


def test_an_interrupt_ends_a_build_and_its_step(
    docker_host: Daemon, background: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    def steps() -> bool:
        return any("sleep 4242" in command for _, command in docker_host.room.left())

    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN exec sleep 4242\n")
    process = subprocess.Popen(
        [*LABKERNEL, "docker", "build", "-t", "cut", str(tmp_path)],
        env=docker_host.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    background.append(process)
    assert any(steps() for _ in wait_until(20))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert any(not steps() for _ in wait_until(20))
    assert docker_host.docker("images", "-q", "cut").stdout == ""
