"""TCP with TLS: the stock client, docker-py and our own commands, on our engine and on Docker's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.certificates import make_authority, make_certificate
from tests.support.daemons import Daemon, running

ADDRESS = "tcp://127.0.0.1:2376"


@dataclass
class Place:
    daemon: Daemon
    certificates: Path
    """With directories as DOCKER_CERT_PATH names them: client, and stranger of another authority."""

    def environment(self, who: str = "client") -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
        return {
            **kept,
            "DOCKER_HOST": ADDRESS,
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": str(self.certificates / who),
        }

    def run(
        self, *args: str, who: str = "client", stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self.daemon.room.run(args, env=self.environment(who), input=stdin, timeout=60)


@pytest.fixture(scope="module", params=["labkernel", "dockerd"])
def place(
    request: pytest.FixtureRequest, root: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("tls")
    authority = make_authority(directory / "authority")
    server = make_certificate(authority, directory / "server")
    make_certificate(authority, directory / "client")
    stranger = make_certificate(make_authority(directory / "other"), directory / "stranger")
    (stranger / "ca.pem").write_bytes((authority / "ca.pem").read_bytes())  # it knows the server
    options = [
        f"--host={ADDRESS}",
        *("--tlsverify", f"--tlscacert={server}/ca.pem", f"--tlscert={server}/cert.pem"),
        f"--tlskey={server}/key.pem",
    ]
    with running(request.param, options=options) as daemon:
        yield Place(daemon, directory)


def test_stdin_ends_and_output_still_comes(place: Place) -> None:
    counted = ["docker", "run", "--rm", "-i", "busybox", "sh", "-c", "wc -c; echo end"]
    ran = place.run(*counted, stdin="hi\n" * 100000)
    assert (ran.stdout, ran.returncode) == ("300000\nend\n", 0), ran.stderr


def test_the_flags_of_the_stock_client(place: Place) -> None:
    names = (("cacert", "ca"), ("cert", "cert"), ("key", "key"))
    tls = [f"--tls{name}={place.certificates}/client/{file}.pem" for name, file in names]
    command = ["docker", "--tlsverify", *tls, "-H", ADDRESS, "run", "--rm", "-i", "busybox", "cat"]
    ran = place.daemon.room.run(command, input="hi\n")
    assert (ran.stdout, ran.returncode) == ("hi\n", 0), ran.stderr


def test_logs_are_followed_and_exec_has_a_terminal(place: Place) -> None:
    talks = "echo one; mkfifo /f; cat /f"
    place.run("docker", "run", "-d", "--name", "talks", "busybox", "sh", "-c", talks)
    follow = subprocess.Popen(
        [*place.daemon.room.inside, "docker", "logs", "-f", "talks"],
        env=place.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert follow.stdout is not None
    assert follow.stdout.readline() == "one\n"
    ran = place.run(
        "script", "-qec", "docker exec -it talks sh -c 'test -t 0 && echo a terminal'", "/dev/null"
    )
    assert "a terminal" in ran.stdout, ran
    ran = place.run("docker", "exec", "-i", "talks", "sh", "-c", "cat > /f", stdin="two\n")
    assert ran.returncode == 0, ran.stderr
    assert follow.stdout.read() == "two\n"
    assert follow.wait(10) == 0
    place.run("docker", "rm", "-f", "talks")


def test_docker_py(place: Place) -> None:
    program = (
        "import docker\n"
        "client = docker.from_env()\n"
        "print(client.containers.run('busybox', ['echo', 'hi'], remove=True))\n"
        "print(sum(map(len, client.images.get('busybox').save())) > 100000)\n"
    )
    # requests takes these before the ca.pem that docker-py was given.
    ran = place.run("env", *("-uREQUESTS_CA_BUNDLE", "-uCURL_CA_BUNDLE"), sys.executable, "-c", program)
    assert (ran.stdout, ran.returncode) == ("b'hi\\n'\nTrue\n", 0), ran.stderr


def test_our_own_commands(place: Place) -> None:
    counted = "docker run --rm -i busybox sh -c".split()
    ours = [sys.executable, "-m", "labkernel", *counted, "seq 200000; wc -c; echo end"]
    environment = {**place.environment(), "REQUESTS_CA_BUNDLE": "/dev/null"}
    ran = place.daemon.room.run(ours, env=environment, input="hi\n" * 100000)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [*map(str, range(1, 200001)), "300000", "end"]
    refused = place.run(*ours[:4], "ps", who="stranger")
    assert refused.returncode == 1
    assert "no TLS with the docker API at tcp://127.0.0.1:2376" in refused.stderr, refused
    assert "DOCKER_CERT_PATH" in refused.stderr


def test_what_goes_up_and_comes_down_is_the_same(place: Place, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(8 << 20))
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY large /\n")
    built = place.run("docker", "build", "-q", "-t", "large", str(tmp_path))
    assert built.returncode == 0, built.stderr
    down = f"docker run --rm large cat /large | cmp - {tmp_path}/large && echo same"
    ran = place.run("sh", "-c", down)
    assert ran.stdout == "same\n", ran.stderr
    place.run("docker", "rmi", "-f", "large")


def test_a_stranger_is_refused(place: Place) -> None:
    ran = place.run("docker", "ps", who="stranger")
    assert ran.returncode == 1
    if place.daemon.kind == "labkernel":  # from Docker a reset may overtake the alert that says why
        assert "bad certificate" in ran.stderr or "unknown certificate authority" in ran.stderr, ran.stderr


def test_a_client_without_certificate_is_refused(place: Place) -> None:
    ca = place.certificates / "client/ca.pem"
    asked = ["curl", "-sS", "--noproxy", "*", "--cacert", str(ca), "https://127.0.0.1:2376/_ping"]
    ran = place.daemon.room.run(asked)
    assert ran.returncode != 0
    assert "certificate" in ran.stderr, ran.stderr
    plain = place.daemon.room.run(["curl", "-sS", "--noproxy", "*", "http://127.0.0.1:2376/_ping"])
    assert plain.stdout != "OK"


@pytest.mark.parametrize("place", ["labkernel"], indirect=True)
def test_status_names_every_address(place: Place) -> None:
    ran = place.run(
        *(sys.executable, "-m", "labkernel", "engine", "status"),
        *("--root", str(place.daemon.root), "--host", place.daemon.url),
    )
    lines = [f"    - {place.daemon.url}", f"    - {ADDRESS} (TLS, for clients with a certificate)"]
    assert "\n".join(["  listening:", *lines]) in ran.stdout, ran
