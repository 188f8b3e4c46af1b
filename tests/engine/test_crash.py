"""kill -9 at the worst moment: the next engine finds a whole store and nothing leaked, and does it again."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import tarfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import pytest

from labkernel.engine.catalog.archive import machine_architecture
from labkernel.engine.linux.namespaces import CLONE_NEWNET, setns
from tests.engine.catalog.signed_archive import SignedArchive, serving, write_keyring
from tests.support.base_images import BUSYBOX, busybox_layer
from tests.support.daemons import Daemon, running
from tests.support.leaks import Leftovers
from tests.support.room import wait_until

SEVERAL = 3000
"""Files: enough that copying them takes longer than it takes to be killed."""
EPOCH = "%7B%22SOURCE_DATE_EPOCH%22:%221700000000%22%7D"
"""A build argument under which the same inputs give the same digests."""


@pytest.fixture(scope="module")
def crashing(root: None) -> Iterator[Daemon]:
    """An engine to kill; that the last one of them leaves nothing is checked as for every engine."""
    with running("labkernel") as daemon:
        yield daemon


@dataclass(frozen=True)
class Traces:
    """What a killed engine could leave; of one that has no containers, always the same."""

    outside: Leftovers
    commands: Counter[str]
    files: dict[str, int]

    @classmethod
    def of(cls, daemon: Daemon) -> Traces:
        outside = Leftovers.of(daemon.room, daemon.root)
        counted = ("blobs/sha256", "containers", "layers", "tmp", "volumes", "catalog", "network", "runtime")
        return cls(
            replace(outside, processes=frozenset()),
            Counter(" ".join(line.split()[2:4]) for line in outside.processes),
            {name: _entries(daemon.root / name) for name in counted},
        )

    def beyond(self, before: Traces) -> dict[str, Any]:
        """What is there and was not before."""
        kinds = ("mounts", "interfaces", "tables", "cgroups")
        found: dict[str, Any] = {
            kind: getattr(self.outside, kind) - getattr(before.outside, kind) for kind in kinds
        }
        found["processes"] = self.commands - before.commands
        found["files"] = {name: count for name, count in self.files.items() if count > before.files[name]}
        return {kind: there for kind, there in found.items() if there}


def _entries(directory: Path) -> int:
    return len(os.listdir(directory)) if directory.exists() else 0


@pytest.fixture
def clean(crashing: Daemon) -> Iterator[Traces]:
    """An engine with busybox and nothing else; after the test it must be that again."""
    warmed = crashing.docker("run", "--rm", "busybox", "true")  # the bridge is made on first use, and stays
    assert warmed.returncode == 0, warmed.stderr
    before = Traces.of(crashing)
    yield before
    crashing.clear()
    for _ in wait_until(5, 0.1):
        after = Traces.of(crashing)
        if not after.beyond(before):
            return
    raise AssertionError(f"left behind: {after.beyond(before)}")


def kill(daemon: Daemon) -> None:
    """The engine is gone from one moment to the next; its containers and its launcher follow."""
    daemon.kill()
    assert_no_process_is_left(daemon)


def assert_no_process_is_left(daemon: Daemon) -> None:
    for _ in wait_until(10):
        left = daemon.room.left()
        if not left:
            return
    raise AssertionError(f"processes outlive their engine: {left}")


def launcher(daemon: Daemon) -> int:
    return next(pid for pid, command in daemon.room.left() if "launcher.process" in command)


class Call(threading.Thread):
    """A request that is cut off in the middle: what came of the answer until then is in `received`."""

    def __init__(self, daemon: Daemon, url: str, body: bytes = b"", length: int | None = None) -> None:
        super().__init__()
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.settimeout(60)
        self._connection.connect(str(daemon.socket))
        length = len(body) if length is None else length
        kind = "json" if body.startswith(b"{") else "x-tar"
        head = f"POST {url} HTTP/1.1\r\nHost: x\r\nContent-Type: application/{kind}\r\n"
        head += f"Content-Length: {length}\r\n\r\n"
        self._request = head.encode() + body
        self.received = b""
        self.start()

    def run(self) -> None:
        try:
            self._connection.sendall(self._request)
            while more := self._connection.recv(65536):
                self.received += more
        except OSError:
            pass
        self._connection.close()

    def has(self, text: bytes) -> Callable[[], bool]:
        return lambda: text in self.received

    def cut(self) -> None:
        """The other end is gone; that the answer was not complete shows that it was in the middle."""
        self.join(10)
        head, _, body = self.received.partition(b"\r\n\r\n")
        complete = body.endswith(b"0\r\n\r\n") if b"chunked" in head else b"Content-Length" in head
        assert not complete, self.received


def reached(condition: Callable[[], bool]) -> None:
    for _ in wait_until(30, 0.005):
        if condition():
            return
    raise TimeoutError("the moment to kill does not come")


def something_half_made(daemon: Daemon) -> Callable[[], bool]:
    """Files below the store's directory for what is not whole yet."""

    def is_there() -> bool:
        for place in (daemon.root / "tmp").iterdir():
            with suppress(FileNotFoundError):
                if any(place.iterdir()):
                    return True
        return False

    return is_there


def context(files: dict[str, bytes]) -> bytes:
    """A tar of these files and of the directories that they are in."""
    out = io.BytesIO()
    directories = {str(parent) for name in files for parent in PurePath(name).parents} - {"."}
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in [*((name, None) for name in sorted(directories)), *files.items()]:
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            member.size, member.mode, member.mtime = len(data or b""), 0o755, 1_700_000_000
            tar.addfile(member, io.BytesIO(data or b""))
    return out.getvalue()


def many_files() -> dict[str, bytes]:
    return {f"tree/{number // 100}/{number}": f"{number}\n".encode() * 50 for number in range(SEVERAL)}


def layers(daemon: Daemon, image: str) -> list[str]:
    described = daemon.http.call("GET", f"/images/{image}/json").json()
    found: list[str] = described["RootFS"]["Layers"]
    return found


def built(daemon: Daemon, tar: bytes, tag: str) -> list[str]:
    answer = daemon.http.call("POST", f"/build?t={tag}&buildargs={EPOCH}", tar)
    assert b"Successfully tagged" in answer.body, answer.body
    return layers(daemon, tag)


@pytest.mark.parametrize("victim", ["engine", "launcher"])
def test_in_mid_run(crashing: Daemon, clean: Traces, victim: str) -> None:
    serve = (
        "echo kept > /data/file; echo own > /own; mkdir /www; echo here > /www/index.html; httpd -f -h /www"
    )
    run = ["run", "-d", "--name", "web", "-p", "8080:80", "-v", "data:/data", "--tmpfs", "/scratch"]
    started = crashing.docker(*run, "--memory", "64m", "busybox", "sh", "-c", serve)
    assert started.returncode == 0, started.stderr
    crashing.docker("run", "-d", "--rm", "--name", "gone", "busybox", "sleep", "1000")
    crashing.docker("run", "-d", "--name", "again", "--restart", "always", "busybox", "sleep", "1000")
    assert crashing.curl(8080) == "here\n"
    if victim == "engine":
        kill(crashing)
    else:
        os.kill(launcher(crashing), signal.SIGKILL)
        assert crashing.room.wait(crashing.pid, 20) == 1
        assert_no_process_is_left(crashing)
        assert "the launcher was killed" in crashing.log.read_text()
    crashing.start()

    client = crashing.client().api
    shown = {one["Names"][0]: (one["State"], one["Status"]) for one in client.containers(all=True)}
    assert shown["/web"][0] == "exited"
    assert "Exited (137)" in shown["/web"][1]
    assert shown["/again"][0] == "running"
    assert "/gone" not in shown
    assert crashing.docker("start", "web").returncode == 0
    assert crashing.curl(8080) == "here\n"
    assert crashing.docker("exec", "web", "cat", "/data/file", "/own").stdout == "kept\nown\n"
    client.close()


def test_an_ordinary_users_engine_in_mid_run(user_with_range: str) -> None:
    with running("labkernel", user=user_with_range) as daemon:
        serve = "echo kept > /data/file; mkdir /www; echo here > /www/index.html; httpd -f -h /www"
        run = ["run", "-d", "--name", "web", "-p", "8080:80", "-v", "data:/data"]
        started = daemon.docker(*run, "busybox", "sh", "-c", serve)
        assert started.returncode == 0, started.stderr
        assert daemon.curl(8080) == "here\n"
        kill(daemon)
        daemon.start()
        assert "Exited (137)" in daemon.docker("ps", "-a", "--format", "{{.Status}}").stdout
        assert daemon.docker("start", "web").returncode == 0
        assert daemon.curl(8080) == "here\n"
        assert daemon.docker("exec", "web", "cat", "/data/file").stdout == "kept\n"


def test_in_a_run_step(crashing: Daemon, clean: Traces) -> None:
    dockerfile = (
        b"FROM busybox\nCOPY file /\nRUN echo 1 > /one\n"
        b"RUN echo half > /two; echo waiting; sleep 1000; echo whole > /two\n"
    )
    build = Call(crashing, "/build?t=cut", context({"Dockerfile": dockerfile, "file": b"x"}))
    reached(build.has(b"waiting"))
    kill(crashing)
    build.cut()
    crashing.start()
    assert crashing.docker("images", "-q", "cut").stdout == ""
    assert crashing.docker("ps", "-aq").stdout == ""
    # What was done is not done again: the steps before the interrupted one come from the cache.
    again = crashing.http.call(
        "POST", "/build?t=cut", context({"Dockerfile": dockerfile.replace(b"1000", b"0"), "file": b"x"})
    )
    assert again.body.count(b"Using cache") == 2, again.body
    assert crashing.docker("run", "--rm", "cut", "cat", "/one", "/two").stdout == "1\nwhole\n"


WAITING = "--mount=type=cache,id=gate,target=/gate until [ -e /gate/open ]; do sleep 0.05; done"
STAGES = f"""FROM busybox AS one
RUN echo 1 > /1
RUN {WAITING}; echo 2 > /2
FROM busybox AS two
COPY file /3
RUN {WAITING}; cat /3 /3 > /4
FROM one
COPY --from=two /4 /
RUN cat /1 /2 /4 > /5
"""


@pytest.mark.parametrize("victim", ["engine", "client", "step"])
def test_in_stages_side_by_side(crashing: Daemon, clean: Traces, victim: str, tmp_path: Path) -> None:
    """The next build goes on from what was completed, and makes the image that it would have been."""
    (tmp_path / "Dockerfile").write_text(STAGES)
    (tmp_path / "file").write_text("x")

    def waiting() -> list[int]:
        return [pid for pid, words in crashing.room.left() if words.startswith("/bin/sh -c until [ -e /gate")]

    def build(**options: Any) -> subprocess.Popen[str]:
        command = ["docker", "build", "--build-arg", "SOURCE_DATE_EPOCH=1700000000", "-t", "cut", "."]
        environment = {**crashing.environment(), "DOCKER_BUILDKIT": "0"}
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finished() -> tuple[str, str]:
        said, _ = build().communicate(timeout=60)
        assert "Successfully tagged" in said
        return said, crashing.docker("images", "-q", "--no-trunc", "cut").stdout

    client = build()
    reached(lambda: len(waiting()) == min(2, len(os.sched_getaffinity(0))))
    if victim == "engine":
        kill(crashing)
        crashing.start()
    elif victim == "client":
        client.kill()
    else:
        os.kill(waiting()[0], signal.SIGKILL)
    said, _ = client.communicate(timeout=30)
    assert victim != "step" or "returned a non-zero code: 137" in said
    reached(lambda: not waiting())
    assert crashing.docker("images", "-q", "cut").stdout == ""
    opening = b"FROM busybox\nRUN --mount=type=cache,id=gate,target=/gate touch /gate/open\n"
    opened = crashing.http.call("POST", "/build", context({"Dockerfile": opening}))
    assert b"Successfully built" in opened.body
    said, image = finished()
    assert said.count("Using cache") == 2
    crashing.clear()
    said, untroubled = finished()
    assert said.count("Using cache") == 0
    assert image == untroubled
    assert crashing.http.call("POST", "/build/prune").status == 200


def test_in_a_build_again_and_again(crashing: Daemon, clean: Traces) -> None:
    """At ever later moments, whatever they are in the middle of: what one engine has completed the next does
    not do again, and the image at the end is that of a build that nothing interrupts."""
    dockerfile = "".join(
        f"FROM busybox AS stage{n}\nRUN echo {n} > /{n}\nCOPY tree /tree\nRUN rm -r /tree/{n}; sleep 0.1\n"
        for n in range(2)
    )
    dockerfile += "FROM stage0\nCOPY --from=stage1 /tree /one\nENV A=1\n"
    tar = context({"Dockerfile": dockerfile.encode(), **many_files()})
    url = f"/build?t=cut&buildargs={EPOCH}"
    wanted = built(crashing, tar, "cut")
    crashing.clear()
    completed = 0
    for delay in (0.1, 0.4, 0.8):
        build = Call(crashing, url, tar)
        for _ in wait_until(delay):
            pass
        kill(crashing)
        build.join(10)
        steps = len(re.findall(rb" ---> [0-9a-f]{12}\\n", build.received)) - build.received.count(b": FROM")
        completed = max(completed, steps)
        crashing.start()
    body = crashing.http.call("POST", url, tar).body
    assert body.count(b"Using cache") >= completed > 0
    assert layers(crashing, "cut") == wanted


@pytest.mark.parametrize("step", ["Step 2/3", "Step 3/3"])
def test_in_a_copy_of_many_files(crashing: Daemon, clean: Traces, step: str) -> None:
    """In the first copy and in the second; the layers are those of a build that nothing interrupts."""
    dockerfile = b"FROM busybox\nCOPY tree /tree\nCOPY tree /again\n"
    tar = context({"Dockerfile": dockerfile, **many_files()})
    wanted = built(crashing, tar, "untroubled")
    crashing.clear()
    build = Call(crashing, f"/build?t=cut&buildargs={EPOCH}", tar)
    reached(build.has(step.encode()))
    kill(crashing)
    build.cut()
    crashing.start()
    assert crashing.docker("images", "-q", "cut").stdout == ""
    assert built(crashing, tar, "cut") == wanted
    assert crashing.docker("run", "--rm", "cut", "cat", "/again/29/2999").stdout == "2999\n" * 50


def test_while_the_context_arrives(crashing: Daemon, clean: Traces) -> None:
    tar = context({"Dockerfile": b"FROM busybox\nCOPY tree /tree\n", **many_files()})
    build = Call(crashing, "/build?t=cut", tar[: len(tar) // 2], length=len(tar))
    reached(lambda: _entries(crashing.root / "tmp") > 0)
    kill(crashing)
    build.cut()
    crashing.start()
    assert len(built(crashing, tar, "cut")) == 2


def image_archive() -> bytes:
    """As `docker save` writes it: busybox and a layer of many files above it."""
    from hashlib import sha256

    busybox, above = busybox_layer(), context(many_files())
    diff_ids = [f"sha256:{sha256(layer).hexdigest()}" for layer in (busybox, above)]
    config = {
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "config": {},
    }
    manifest = [{"Config": "config.json", "RepoTags": ["loaded:1"], "Layers": ["1.tar", "2.tar"]}]
    return context(
        {
            "1.tar": busybox,
            "2.tar": above,
            "config.json": json.dumps(config).encode(),
            "manifest.json": json.dumps(manifest).encode(),
        }
    )


@pytest.mark.parametrize("sent", [0.7, 1.0])
def test_in_mid_load(crashing: Daemon, clean: Traces, sent: float) -> None:
    archive = image_archive()
    load = Call(crashing, "/images/load", archive[: int(len(archive) * sent)], length=len(archive))
    reached(something_half_made(crashing))
    kill(crashing)
    load.cut()
    crashing.start()
    assert crashing.docker("images", "-q", "loaded").stdout == ""
    loaded = crashing.http.call("POST", "/images/load", archive)
    assert b"Loaded image: loaded:1" in loaded.body, loaded.body
    assert crashing.docker("run", "--rm", "loaded:1", "/bin/cat", "/tree/0/7").stdout == "7\n" * 50


def test_in_mid_commit(crashing: Daemon, clean: Traces) -> None:
    fill = f"for i in $(seq {SEVERAL}); do echo $i > /f$i; done"
    made = crashing.docker("run", "--name", "full", "busybox", "sh", "-c", fill)
    assert made.returncode == 0, made.stderr
    commit = Call(crashing, "/commit?container=full&repo=committed")
    reached(something_half_made(crashing))
    kill(crashing)
    commit.cut()
    crashing.start()
    assert crashing.docker("images", "-q", "committed").stdout == ""
    again = crashing.docker("commit", "full", "committed")
    assert again.returncode == 0, again.stderr
    counted = crashing.docker("run", "--rm", "committed", "sh", "-c", f"ls / | grep -c ^f; cat /f{SEVERAL}")
    assert counted.stdout == f"{SEVERAL}\n{SEVERAL}\n"


def test_while_a_container_is_made_and_its_volume_filled(crashing: Daemon, clean: Traces) -> None:
    tar = context({"Dockerfile": b"FROM busybox\nCOPY tree /tree\nVOLUME /tree\n", **many_files()})
    built(crashing, tar, "with-volume")
    body = json.dumps({"Image": "with-volume", "Cmd": ["true"]}).encode()
    create = Call(crashing, "/containers/create?name=half", body)
    reached(something_half_made(crashing))
    kill(crashing)
    create.cut()
    crashing.start()
    assert crashing.docker("ps", "-aq").stdout == ""
    assert crashing.docker("volume", "ls", "-q").stdout == ""
    ran = crashing.docker("run", "--rm", "--name", "half", "with-volume", "cat", "/tree/3/333")
    assert ran.stdout == "333\n" * 50, ran.stderr


@pytest.fixture
def archive_in_the_room(crashing: Daemon, tmp_path: Path) -> Iterator[Callable[[], bool]]:
    """The engine takes busybox from an archive of the test's own, which holds back the package once.

    The value says whether the package is being asked for.
    """
    program = Path("/bin/busybox") if Path("/bin/busybox").exists() else Path("/usr/bin/busybox")
    archive = SignedArchive()
    archive.add("bookworm", "busybox-static", "1", files={"bin/busybox": program.read_bytes()})
    archive.publish("bookworm", machine_architecture())
    asked, released = threading.Event(), threading.Event()
    with ExitStack() as stack:
        server = in_the_room(crashing, lambda: stack.enter_context(serving(archive.files)))
        stack.callback(released.set)
        answer = server.answer

        def slowly(handler: Any) -> None:
            if handler.path.endswith(".deb") and not asked.is_set():
                asked.set()
                released.wait(60)
            answer(handler)

        server.answer = slowly
        ring = write_keyring(tmp_path / "ring.gpg")
        crashing.stop()
        crashing.variables = {
            "LABKERNEL_APT_SOURCES": f"deb [signed-by={ring}] {server.url} bookworm main",
            "LABKERNEL_CACHE": str(tmp_path / "cache"),
        }
        crashing.start()
        yield asked.is_set
    crashing.variables = {}


def in_the_room(daemon: Daemon, work: Callable[[], Any]) -> Any:
    """What `work` returns when it is done in the network of the engine's room."""
    result: list[Any] = []

    def enter() -> None:
        with open(f"/proc/{daemon.room.pid}/ns/net", "rb") as namespace:
            setns(namespace.fileno(), CLONE_NEWNET)
        result.append(work())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join(30)
    return result[0]


def test_in_mid_image_making(
    crashing: Daemon, clean: Traces, archive_in_the_room: Callable[[], bool], tmp_path: Path
) -> None:
    crashing.docker("rmi", "-f", BUSYBOX)
    for moment in (None, b'"id":"3/4"', b'"id":"4/4"'):
        making = Call(crashing, "/labkernel/images/make?name=busybox")
        reached(archive_in_the_room if moment is None else making.has(moment))
        kill(crashing)
        making.cut()
        crashing.start()
        assert crashing.docker("images", "-q").stdout == ""
    made = crashing.http.call("POST", "/labkernel/images/make?name=busybox")
    assert b"Made busybox:latest" in made.body, made.body
    assert crashing.docker("run", "--rm", "busybox", "echo", "done again").stdout == "done again\n"
    crashing.docker("rmi", "-f", BUSYBOX)


def test_killed_while_it_starts(crashing: Daemon, clean: Traces) -> None:
    """An engine that cleans up after another is killed too, at ever later moments."""
    crashing.docker(
        "run", "-d", "--name", "up", "-p", "8081:80", "--restart", "always", "busybox", "sleep", "1000"
    )
    kill(crashing)
    for delay in (0.1, 0.3, 0.5, 0.7):
        pid = crashing.room.start(crashing._command(), env=crashing._environment(), log=crashing.log)
        for _ in wait_until(delay):
            pass
        os.kill(pid, signal.SIGKILL)
        crashing.room.wait(pid, 10)
        assert_no_process_is_left(crashing)
    crashing.start()
    assert crashing.docker("ps", "-q", "--filter", "name=up").stdout != ""
