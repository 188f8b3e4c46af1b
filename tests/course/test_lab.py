"""What checks see of an engine, and what they say where something is missing: on ours and on Docker's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from labkernel.course import Failed, Lab
from labkernel.course import lab as lab_module
from tests.support.daemons import Daemon


@pytest.fixture
def lab(docker_host: Daemon, tmp_path: Path) -> Iterator[Lab]:
    with closing(docker_host.client()) as client:
        yield Lab(client, tmp_path)


def build(lab: Lab, name: str, dockerfile: str) -> None:
    """An image of the learner's."""
    place = lab.directory / "made"
    place.mkdir(exist_ok=True)
    (place / "Dockerfile").write_text(dockerfile)
    lab.client.api.tag(lab.build("made"), name)


def fails(function: Callable[[], object]) -> str:
    with pytest.raises(Failed) as caught:
        function()
    return caught.value.message


def containers(lab: Lab) -> list[Any]:
    found: list[Any] = lab.client.api.containers(all=True)
    return found


def test_images(lab: Lab) -> None:
    build(lab, "me/app", "FROM busybox\nEXPOSE 8080 53/udp\nRUN echo 1 > /one\nCMD echo hi\n")
    app, base = lab.image("me/app"), lab.image("busybox")
    assert app.exposed == ["53/udp", "8080/tcp"]
    assert app.stands_on(base)
    assert not base.stands_on(app)
    assert len(app.layers) == len(base.layers) + 1
    assert app.steps_above(base)[1].endswith("echo 1 > /one")
    assert "bin/busybox" in [path.removeprefix("./") for path in app.paths()]
    assert [version.id for version in lab.versions("busybox")] == [base.id]
    assert lab.versions("me/ap") == []
    assert fails(lambda: lab.image("me/ap")) == "there is no image me/ap; there is me/app"
    assert fails(lambda: lab.image("zzz")) == "there is no image zzz"
    assert containers(lab) == []


def test_files(lab: Lab) -> None:
    build(
        lab,
        "me/files",
        "FROM busybox\nRUN echo 1 > /one && mkdir /dir && ln -s ../one /dir/link && ln -s /loop /loop "
        "&& mkfifo /pipe && dd if=/dev/zero of=/large bs=1M count=17\n",
    )
    image = lab.image("me/files")
    assert image.file("/one") == b"1\n"
    assert image.file("/dir/link") == b"1\n"
    assert fails(lambda: image.file("/none")) == "the image me/files has no file /none"
    assert fails(lambda: image.file("/one/two")) == "the image me/files has no file /one/two"
    for path in ("/dir", "/pipe"):
        assert fails(lambda path=path: image.file(path)) == f"{path} of the image me/files is not a file"
    assert "/loop" in fails(lambda: image.file("/loop"))
    assert (
        fails(lambda: image.file("/large")) == "the file /large of the image me/files is too large to look at"
    )
    assert containers(lab) == []


def test_commands(lab: Lab) -> None:
    build(
        lab,
        "me/odd",
        "FROM busybox\nENTRYPOINT false\nUSER nosuch\n",
    )
    busybox = lab.image("busybox")
    ran = lab.run(busybox, ["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (ran.exit_code, sorted(ran.output.splitlines())) == (3, ["err", "out"])
    assert len(lab.run(busybox, ["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"]).output) == 1 << 20
    assert fails(lambda: lab.run(busybox, ["none"])) == "the image busybox has no program none"
    assert (
        fails(lambda: lab.run(busybox, ["/etc"]))
        == 'busybox cannot run /etc: exec: "/etc": permission denied'
    )
    assert "unable to find user nosuch" in fails(lambda: lab.run(lab.image("me/odd"), ["true"]))
    assert fails(lambda: lab.run(busybox, ["sleep", "99"], timeout=0.5)) == (
        "sleep 99 in busybox did not end within 0 s"
    )
    assert containers(lab) == []


def test_containers(lab: Lab, docker_host: Daemon) -> None:
    for name, command in (("up", "sleep 1000"), ("down", "echo 2026/11/24 08:00:00 no such port; exit 7")):
        docker_host.docker("run", "-d", "--name", name, "busybox", "sh", "-c", command)
    lab.client.api.wait("down")
    assert lab.running("up").state == "running"
    # The time in what it wrote is another one every time, and not in the message.
    assert fails(lambda: lab.running("down")) == (
        "the container down should run, and is exited (7); the last that it wrote: no such port"
    )
    assert fails(lambda: lab.running("upp")) == "there is no container upp; there is up"
    assert [container.name for container in lab.containers()] == ["up"]
    assert [container.name for container in lab.containers(all=True)] == ["up", "down"]
    assert [c.name for c in lab.containers_of(lab.image("busybox"), all=True)] == ["up", "down"]


def test_containers_that_come_and_go_meanwhile(lab: Lab) -> None:
    ended = threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            made = lab.client.api.create_container("busybox", ["true"])
            lab.client.api.remove_container(made["Id"])

    threads = [threading.Thread(target=come_and_go) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(40):
            lab.containers(all=True)
    finally:
        ended.set()
        for thread in threads:
            thread.join()


BROKEN = {
    "": "the Dockerfile (Dockerfile) cannot be empty",
    "NONSENSE\n": "unknown instruction: NONSENSE",
    "FROM busybox\nRUN false\n": "The command '/bin/sh -c false' returned a non-zero code: 1",
    "FROM busybox\nCOPY none /\n": "COPY failed",
    "FROM busybox\nUSER nosuch\nRUN true\n": "unable to find user nosuch",
}


def test_builds(lab: Lab) -> None:
    place = lab.directory / "app"
    assert fails(lambda: lab.build("app")) == "there is no file app/Dockerfile"
    place.mkdir()
    for text, why in BROKEN.items():
        (place / "Dockerfile").write_text(text)
        message = fails(lambda: lab.build("app"))
        assert message.startswith("app/Dockerfile does not build: ")
        assert why in message
    (place / "Dockerfile").write_text("FROM busybox\nRUN true\n")
    assert lab.build("app") == lab.build("app")
    (place / ".dockerignore").write_text("[")
    assert fails(lambda: lab.build("app")).startswith("app/.dockerignore: ")
    (place / ".dockerignore").unlink()
    assert fails(lambda: lab.build("..")) == ".. leads out of the exercise's directory"


@pytest.mark.parametrize(
    "step", ["sleep 1000", "while :; do echo; sleep 0.2; done"], ids=["silent", "chatty"]
)
def test_a_build_without_an_end(lab: Lab, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    monkeypatch.setattr(lab_module, "BUILD_TIMEOUT", 2)
    (lab.directory / "app").mkdir()
    (lab.directory / "app" / "Dockerfile").write_text(f"FROM busybox\nRUN {step}\n")
    assert fails(lambda: lab.build("app")) == "app/Dockerfile does not build within 2 s"
