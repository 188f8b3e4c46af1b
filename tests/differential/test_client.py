"""docker-py's own ways, on both daemons: what it does with the answers is part of being compatible."""

from __future__ import annotations

import io

import docker.errors
import pytest

from tests.differential.scenarios.files import archive
from tests.support.daemons import Daemon


def test_run_and_its_errors(docker_host: Daemon) -> None:
    client = docker_host.client()
    assert client.containers.run("busybox", ["echo", "hello"], remove=True) == b"hello\n"
    with pytest.raises(docker.errors.ContainerError) as failed:
        client.containers.run("busybox", ["sh", "-c", "echo wrong >&2; exit 3"], remove=True)
    assert (failed.value.exit_status, failed.value.stderr) == (3, b"wrong\n")
    with pytest.raises(docker.errors.APIError, match="executable file not found"):
        client.containers.run("busybox", ["no-such-program"])
    with pytest.raises(docker.errors.NotFound, match="No such container: nobody"):
        client.containers.get("nobody")
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get("nothing")


def test_streams(docker_host: Daemon) -> None:
    client = docker_host.client()
    command = "for i in 1 2 3; do echo $i; sleep 0.05; done; echo end >&2"
    container = client.containers.run("busybox", ["sh", "-c", command], detach=True)
    assert b"".join(container.logs(stream=True, follow=True)) == b"1\n2\n3\nend\n"
    assert container.wait()["StatusCode"] == 0
    assert container.logs(stdout=False) == b"end\n"


def test_exec(docker_host: Daemon) -> None:
    container = docker_host.client().containers.run("busybox", "sleep 1000", detach=True)
    both = container.exec_run(["sh", "-c", "echo out; echo err >&2; exit 5"], demux=True)
    assert (both.exit_code, both.output) == (5, (b"out\n", b"err\n"))
    assert container.exec_run("id -un", user="daemon", tty=True).output == b"daemon\r\n"


def test_attached_input(docker_host: Daemon) -> None:
    container = docker_host.client().containers.create("busybox", "cat", stdin_open=True)
    stream = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    stream._sock.sendall(b"over and back\n")
    header, text = stream._sock.recv(8), stream._sock.recv(100)
    assert (header[0], text) == (1, b"over and back\n")
    stream._sock.close()
    container.remove(force=True)


def test_build(docker_host: Daemon) -> None:
    client = docker_host.client()
    context = archive({"Dockerfile": "FROM busybox\nCOPY a /a\nRUN cat /a\n", "a": "copied\n"})
    image, messages = client.images.build(fileobj=io.BytesIO(context), custom_context=True, tag="me/it")
    text = "".join(message.get("stream", "") for message in messages)
    assert "Step 3/3 : RUN cat /a" in text
    assert "copied\n" in text
    assert image.tags == ["me/it:latest"]
    wrong = archive({"Dockerfile": "FROM busybox\nRUN exit 4\n"})
    with pytest.raises(docker.errors.BuildError, match="returned a non-zero code: 4"):
        client.images.build(fileobj=io.BytesIO(wrong), custom_context=True)


def test_events(docker_host: Daemon) -> None:
    client = docker_host.client()
    events = client.events(decode=True, filters={"type": "container", "event": ["create", "start", "die"]})
    container = client.containers.run("busybox", "true", name="box", detach=True)
    actions = [next(events)["Action"] for _ in range(3)]
    events.close()
    container.remove()
    assert actions == ["create", "start", "die"]
