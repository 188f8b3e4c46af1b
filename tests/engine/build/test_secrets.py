"""`RUN --mount=type=secret` and `type=ssh` through the API, with each kind of privilege."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkernel.engine.build.interface import BuildOptions
from labkernel.engine.build.private_mounts import private_mounts
from labkernel.engine.build.run_options import run_mount
from tests.engine.build.conftest import context_tar
from tests.support.daemons import Daemon

SECRET = "this-of-all-words-must-not-be-kept"


def header(value: dict[str, str]) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def build(
    engine: Daemon,
    dockerfile: str,
    *,
    secrets: dict[str, str] | None = None,
    ssh: dict[str, str] | None = None,
) -> list[dict[str, Any]]:
    headers = {"Content-Type": "application/x-tar"}
    if secrets is not None:
        encoded = {name: base64.b64encode(value.encode()).decode() for name, value in secrets.items()}
        headers["X-Labkernel-Build-Secrets"] = header(encoded)
    if ssh is not None:
        headers["X-Labkernel-Build-Ssh"] = header(ssh)
    answer = engine.http.call("POST", "/build?nocache=1", context_tar({"Dockerfile": dockerfile}), headers)
    return [json.loads(line) for line in answer.body.splitlines() if line]


def output(messages: list[dict[str, Any]]) -> str:
    assert "error" not in messages[-1], messages[-1]
    return "".join(message.get("stream", "") for message in messages)


def traces(directory: Path) -> list[Path]:
    """The files in which the secret stands."""
    found = []
    for top, _, names in os.walk(directory):
        for name in names:
            path = Path(top, name)
            if path.is_file() and not path.is_symlink() and SECRET.encode() in path.read_bytes():
                found.append(path)
    return found


ZERO = "secret a: a variable cannot hold a zero byte"

STEPS = """
FROM busybox
RUN --mount=type=secret,id=a --mount=type=secret,id=a,target=/in/other,mode=0444 \\
    --mount=type=secret,id=a,env=TOKEN --mount=type=secret,id=absent \\
    md5sum < /run/secrets/a; md5sum < /in/other; printf %s "$TOKEN" | md5sum; \\
    stat -c '%a %u %n' /run/secrets/* /in/*; grep -c ' /run/secrets/a tmpfs ro,' /proc/mounts; \\
    find / -xdev -name config.json; touch /done
RUN ls -d /run/secrets /in /done 2>/dev/null; echo ${TOKEN:-none}
"""


def test_a_secret_is_seen_and_not_kept(any_engine: Daemon) -> None:
    said = output(build(any_engine, STEPS, secrets={"a": SECRET, "unused": "x"}))
    digest = hashlib.md5(SECRET.encode()).hexdigest()
    assert said.count(digest) == 3
    assert "400 0 /run/secrets/a\n444 0 /in/other\n" in said
    assert " /run/secrets/absent" not in said
    assert "\n/done\nnone\n" in said
    assert traces(any_engine.directory) == []
    history = any_engine.http.call("GET", "/images/json?all=1").body
    assert SECRET.encode() not in history


def test_owner(engine: Daemon) -> None:
    flag = "--mount=type=secret,id=a,uid=5,gid=6,mode=0440"
    steps = f"FROM busybox\nUSER 5\nRUN {flag} stat -c '%a %u %g' /run/secrets/a\n"
    assert "440 5 6\n" in output(build(engine, steps, secrets={"a": "x"}))


@pytest.mark.parametrize(
    ("step", "secrets", "message"),
    [
        ("--mount=type=secret,id=a,required true", {}, "secret a: not found"),
        (
            "--mount=type=secret,id=a,env=A true",
            {"a": "x\0y"},
            ZERO,
        ),
    ],
)
def test_errors(engine: Daemon, step: str, secrets: dict[str, str], message: str) -> None:
    said = build(engine, f"FROM busybox\nRUN {step}\n", secrets=secrets)
    assert said[-1]["error"] == message
    assert said[-1]["errorDetail"]["hint"]


@pytest.mark.parametrize("text", ["?", header([]), header({"a": 1}), header({"a": "?"})])  # type: ignore[arg-type]
def test_headers_that_make_no_sense(engine: Daemon, text: str) -> None:
    headers = {"X-Labkernel-Build-Secrets": text}
    answer = engine.http.call("POST", "/build", context_tar({"Dockerfile": "FROM busybox"}), headers)
    assert answer.status == 400
    assert answer.json()["message"].startswith("invalid X-Labkernel-Build-Secrets: no ")


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """What answers as an SSH agent would: here, with what it was asked, twice."""
    with socket.socket(socket.AF_UNIX) as listening:
        path = tmp_path / "agent"
        listening.bind(str(path))
        path.chmod(0o666)
        for above in tmp_path.parents[:3]:
            above.chmod(0o755)
        listening.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    said = connection.recv(100)
                    connection.sendall(said * 2)

        thread = threading.Thread(target=serve)
        thread.start()
        yield path
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_an_agent_is_seen(any_engine: Daemon, agent: Path) -> None:
    steps = """
FROM busybox
RUN --mount=type=ssh --mount=type=ssh,target=/second,mode=0666 stat -c '%a %F' $SSH_AUTH_SOCK /second
RUN --mount=type=ssh,id=other ls /second 2>/dev/null; echo ${SSH_AUTH_SOCK:-none}
"""
    said = output(build(any_engine, steps, ssh={"default": str(agent)}))
    assert "600 socket\n666 socket\n" in said
    assert "\nnone\nRemoving" in said


def test_an_agent_is_spoken_to(root: None, agent: Path, tmp_path: Path) -> None:
    async def speak() -> bytes:
        place = tmp_path / ("long" * 40)
        given = private_mounts([run_mount("type=ssh")], options, place, keep_ownership=True)
        async with given as shown:
            [(path, target)] = shown.files
            assert shown.environment == [f"SSH_AUTH_SOCK={target}"]
            with contextlib.chdir(path.parent):
                reader, writer = await asyncio.open_unix_connection(path.name)
            writer.write(b"hello")
            said = await reader.read()
            writer.close()
        assert not place.exists() or os.listdir(place) == []
        return said

    options = BuildOptions(ssh={"default": str(agent)})
    assert asyncio.run(speak()) == b"hellohello"
