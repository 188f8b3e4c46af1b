"""The builder's own promises: cache, errors, here-documents, cancelling.

What it builds is compared with what dockerd builds in test_against_dockerd.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.server
import io
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkernel.engine.build.context import BuildContext
from labkernel.engine.build.errors import DockerfileError
from labkernel.engine.build.interface import BuildOptions, RunFailed, error_message
from labkernel.engine.build.rootfs import Rootfs
from labkernel.engine.errors import Conflict, EngineError, InvalidParameter, NotFound, Unavailable
from labkernel.engine.image.images import Image
from labkernel.engine.runtime.client import Launcher
from tests.engine.build.conftest import Workshop, context_tar, member, open_workshop
from tests.support.mistakes import marked


def read(workshop: Workshop, image: Image, path: str) -> bytes | None:
    layers = workshop.store.layers.directories(image.chain_id)
    return Rootfs(layers, overlay=workshop.store.overlay).read(path)


# --- cache

SLOW = "FROM busybox\nRUN echo 1 > /one\nCOPY a.txt /\nRUN echo 2 > /two\nENV A=b\n"


def test_nothing_changed_runs_nothing_and_gives_the_same_image(workshop: Workshop) -> None:
    first = workshop.build(SLOW, {"a.txt": "a"})
    workshop.runner.steps.clear()
    second = workshop.build(SLOW, {"a.txt": "a"})
    assert second.image == first.image
    assert workshop.runner.steps == []
    assert second.text.count(" ---> Using cache\n") == 4


def test_a_changed_file_runs_only_what_follows(workshop: Workshop) -> None:
    workshop.build(SLOW, {"a.txt": "a"})
    workshop.runner.steps.clear()
    changed = workshop.build(SLOW, {"a.txt": "b"})
    assert [step.args[-1] for step in workshop.runner.steps] == ["echo 2 > /two"]
    assert changed.text.count(" ---> Using cache\n") == 1
    assert read(workshop, changed.image, "a.txt") == b"b"


def test_times_of_files_do_not_count(workshop: Workshop) -> None:
    first = workshop.build("FROM busybox\nCOPY d /d\n", {"d": member(tarfile.DIRTYPE), "d/x": "x"})
    entry = member(tarfile.DIRTYPE)
    entry.mtime = 1
    assert workshop.build("FROM busybox\nCOPY d /d\n", {"d": entry, "d/x": "x"}).image == first.image


def test_modes_count(workshop: Workshop) -> None:
    first = workshop.build("FROM busybox\nCOPY d /d\n", {"d": member(tarfile.DIRTYPE), "d/x": "x"})
    second = workshop.build(
        "FROM busybox\nCOPY d /d\n", {"d": member(tarfile.DIRTYPE, mode=0o700), "d/x": "x"}
    )
    assert second.image != first.image


def test_what_is_not_copied_does_not_count(workshop: Workshop) -> None:
    first = workshop.build(SLOW, {"a.txt": "a", "other": "1"})
    assert workshop.build(SLOW + "# comment\n", {"a.txt": "a", "other": "2"}).image == first.image


def test_no_cache(workshop: Workshop) -> None:
    workshop.build(SLOW, {"a.txt": "a"})
    workshop.runner.steps.clear()
    assert "Using cache" not in workshop.build(SLOW, {"a.txt": "a"}, no_cache=True).text
    assert len(workshop.runner.steps) == 2


def test_a_build_argument_counts_from_where_it_is_used(workshop: Workshop) -> None:
    text = "FROM busybox\nRUN echo before\nARG V\nRUN echo $V > /v\n"
    workshop.build(text, build_args={"V": "1", "http_proxy": "p"})
    workshop.runner.steps.clear()
    second = workshop.build(text, build_args={"V": "2", "http_proxy": "p"})
    assert len(workshop.runner.steps) == 1
    assert read(workshop, second.image, "v") == b"2\n"
    workshop.runner.steps.clear()
    workshop.build(text, build_args={"V": "1", "http_proxy": "another"})
    assert workshop.runner.steps == [], "which proxy it is does not count"


def test_a_failed_build_goes_on_where_it_stopped(workshop: Workshop) -> None:
    with pytest.raises(RunFailed):
        workshop.build("FROM busybox\nRUN echo 1 > /one\nRUN false\n")
    workshop.runner.steps.clear()
    workshop.build("FROM busybox\nRUN echo 1 > /one\nRUN true\n")
    assert [step.args[-1] for step in workshop.runner.steps] == ["true"]


def test_an_equal_artifact_of_another_stage_is_cached(workshop: Workshop) -> None:
    """COPY --from knows content: a stage that was run again and made the same costs nothing further on."""
    text = """FROM busybox AS build
ARG V
RUN echo $V; echo made > /artifact
FROM busybox
COPY --from=build /artifact /
"""
    first = workshop.build(text, build_args={"V": "1"})
    second = workshop.build(text, build_args={"V": "2"})
    assert second.image == first.image


def test_stages_that_nothing_needs_are_not_built(workshop: Workshop) -> None:
    built = workshop.build("FROM busybox AS unused\nRUN false\nFROM busybox\nRUN true\n")
    assert "Step 2/2 : RUN true" in built.text
    assert len(workshop.runner.steps) == 1


def test_a_deleted_step_is_made_again(workshop: Workshop) -> None:
    built = workshop.build("FROM busybox\nRUN echo x > /x\n", tags=["x"])
    workshop.images.delete("x", lambda _: [])
    again = workshop.build("FROM busybox\nRUN echo x > /x\n")
    assert "Using cache" not in again.text
    assert built.image.config["rootfs"] == again.image.config["rootfs"] or len(workshop.runner.steps) == 2


# --- what comes out


def test_tags_and_quiet(workshop: Workshop) -> None:
    built = workshop.build("FROM busybox\nENV a=b\n", tags=["me/x", "localhost:5000/y:z"])
    assert [r.familiar for r in workshop.images.references(built.image.id)] == [
        "me/x:latest",
        "localhost:5000/y:z",
    ]
    assert built.text.endswith("Successfully tagged me/x:latest\nSuccessfully tagged localhost:5000/y:z\n")
    quiet = workshop.build("FROM busybox\nENV a=b\n", quiet=True, tags=["q"])
    assert quiet.messages == [{"stream": f"{built.image.id}\n"}]
    assert workshop.images.resolve("q") == built.image


def test_docker_py_finds_the_id(workshop: Workshop) -> None:
    """By regular expression, in the stream's pieces."""
    built = workshop.build("FROM busybox\nENV a=b\n")
    found = [
        m
        for x in built.messages
        if (m := re.search("(^Successfully built |sha256:)([0-9a-f]+)$", x.get("stream", "")))
    ]
    assert built.image.id.startswith("sha256:" + found[-1][2])


def test_output_of_commands(workshop: Workshop) -> None:
    built = workshop.build(
        "FROM busybox\nRUN printf 'caf\\303'; sleep 0.1; printf '\\251\\n'; echo e >&2; printf '\\377'\n"
    )
    error = {"stream": "\x1b[91me\n\x1b[0m"}
    assert error in built.messages
    built.messages.remove(error)
    assert "café\n\ufffdRemoving" in built.text, "characters stay whole across pieces"


def test_unused_build_arguments(workshop: Workshop) -> None:
    built = workshop.build("FROM busybox\nARG used\n", build_args={"b": "1", "a": "2", "used": "3"})
    assert "[Warning] One or more build-args [a b] were not consumed\n" in built.text


def test_a_step_gets_the_environment_directory_user_and_options(workshop: Workshop) -> None:
    workshop.build(
        "FROM busybox\nENV A=b\nARG X\nWORKDIR /w\nUSER daemon\nRUN id -u\n",
        build_args={"X": "y"},
        host_config={"NetworkMode": "none", "Memory": 1 << 27},
    )
    step = workshop.runner.steps[-1]
    assert "1\n" in [message.get("stream") for message in workshop.messages]
    assert step.env[-2:] == ["A=b", "X=y"]
    assert (step.cwd, step.user, step.hostname) == ("/w", "daemon", step.container_id[:12])
    assert step.host_config == {"NetworkMode": "none", "Memory": 1 << 27}


def test_heredocs(workshop: Workshop) -> None:
    built = workshop.build(
        """FROM busybox
ENV V=value
RUN <<EOF
echo one $V > /1
echo two >> /1
EOF
RUN cat > /2 <<-"END"
	kept $V
	END
RUN <<'PROGRAM'
#!/bin/sh -e
echo "$0" > /3
PROGRAM
COPY <<plain <<"quoted" /files/
"$V" \\$V
plain
$V
quoted
COPY --chown=5:6 --chmod=700 <<one /named
x
one
"""
    )
    expected = {
        "1": b"one value\ntwo\n",
        "2": b"kept $V\n",
        "3": b"/dev/pipes/PROGRAM\n",
        "files/plain": b'"value" $V\n',
        "files/quoted": b"$V\n",
        "named": b"x\n",
    }
    assert {path: read(workshop, built.image, path) for path in expected} == expected
    found = Rootfs(
        workshop.store.layers.directories(built.image.chain_id), overlay=workshop.store.overlay
    ).find("named")
    assert found
    assert (found.file.mode, found.file.uid, found.file.gid) == (0o700, 5, 6)


def test_a_changed_script_is_run_again(workshop: Workshop) -> None:
    text = "FROM busybox\nRUN <<X\n#!/bin/sh\necho {} > /x\nX\n"
    assert read(workshop, workshop.build(text.format(1)).image, "x") == b"1\n"
    assert read(workshop, workshop.build(text.format(2)).image, "x") == b"2\n"
    assert "Using cache" in workshop.build(text.format(1)).text


def test_chmod(workshop: Workshop) -> None:
    built = workshop.build(
        "FROM busybox\nCOPY --chmod=2750 d /x\nADD --chmod=600 a /a\n",
        {"d": member(tarfile.DIRTYPE), "d/f": "f", "a": "a"},
    )
    rootfs = Rootfs(workshop.store.layers.directories(built.image.chain_id), overlay=workshop.store.overlay)
    modes = {path: found.file.mode for path in ("x", "x/f", "a") if (found := rootfs.find(path))}
    assert modes == {"x": 0o2750, "x/f": 0o2750, "a": 0o600}


def test_the_dockerfile_can_be_elsewhere(workshop: Workshop) -> None:
    files = {"docker/web": "FROM busybox\nENV a=web\n", "dockerfile": "FROM busybox\nENV a=small\n"}
    assert workshop.build(None, files, dockerfile="docker/web").image.config["config"]["Env"][-1] == "a=web"
    assert workshop.build(None, files).image.config["config"]["Env"][-1] == "a=small"


# --- ADD of a URL


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("www")
    (directory / "file.txt").write_text("from afar\n")
    os.utime(directory / "file.txt", (1_500_000_000, 1_500_000_000))
    (directory / "x.tar").write_bytes(context_tar({"inner": "x"}))
    handler = functools.partial(_QuietHandler, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()
        thread.join()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_add_url(workshop: Workshop, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    text = f"FROM busybox\nADD {server}/file.txt /f\nADD {server}/file.txt /dir/\nADD {server}/x.tar /t/\n"
    built = workshop.build(text)
    assert read(workshop, built.image, "dir/file.txt") == b"from afar\n"
    assert read(workshop, built.image, "t/x.tar") is not None, "what is fetched is not unpacked"
    rootfs = Rootfs(workshop.store.layers.directories(built.image.chain_id), overlay=workshop.store.overlay)
    found = rootfs.find("f")
    assert found
    assert (found.file.mode, found.file.mtime) == (0o600, 1_500_000_000 * 10**9)
    assert any(message.get("status") == "Downloading" for message in built.messages)
    assert workshop.build(text).text.count("Using cache") == 3


def test_add_url_errors(workshop: Workshop, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(NotFound, match=r"ADD failed: failed to GET .*/no with status 404"):
        workshop.build(f"FROM busybox\nADD {server}/no /f\n")
    with pytest.raises(InvalidParameter, match="cannot determine filename for source"):
        workshop.build(f"FROM busybox\nADD {server}/ /d/\n")
    with pytest.raises(Unavailable, match=r'ADD failed: Get "http://127.0.0.1:1/x"'):
        workshop.build("FROM busybox\nADD http://127.0.0.1:1/x /d/\n")
    with pytest.raises(InvalidParameter, match="source can't be a URL for COPY"):
        workshop.build(f"FROM busybox\nCOPY {server}/file.txt /d/\n")


# --- errors


@pytest.mark.parametrize(
    ("dockerfile", "message"),
    [
        ("FRMO busybox\n", "dockerfile parse error on line 1: unknown instruction: FRMO"),
        ("FROM busybox\nENV a\n", "failed to parse Dockerfile: ENV must have two arguments"),
        ("", "the Dockerfile (Dockerfile) cannot be empty"),
        ("# x\n", "failed to parse Dockerfile: file with no instructions"),
        (None, "Cannot locate specified Dockerfile: Dockerfile"),
        ("FROM scratch\n", "No image was generated. Is your Dockerfile empty?"),
        ("FROM busybox\nWORKDIR /bin/busybox\n", "Cannot mkdir: /bin/busybox is not a directory"),
        (
            "FROM busybox\nCOPY nothing /\n",
            "COPY failed: file not found in build context or excluded by .dockerignore: "
            "stat nothing: file does not exist",
        ),
        ("FROM busybox\nCOPY ../x /\n", "COPY failed: forbidden path outside the build context: ../x ()"),
        ("FROM busybox\nADD *.no /\n", "ADD failed: no source files were specified"),
        (
            "FROM busybox\nCOPY a.txt b.txt /x\n",
            "When using COPY with more than one source file, the destination must be a directory "
            "and end with a /",
        ),
        ("FROM busybox\nCOPY --from=busybox /no /\n", "COPY failed: stat no: file does not exist"),
        ("FROM busybox\nCOPY --from=0 /a /\n", "invalid from flag value 0: refers to current build stage"),
        ("FROM busybox\nCOPY --from=7 /a /\n", "invalid from flag value 7: index out of bounds"),
        (
            "FROM busybox AS b\nCOPY --from=d /a /\nFROM busybox AS d\nCOPY --from=b /a /\n",
            "invalid from flag value d: the stage begins only later",
        ),
        (
            "FROM busybox AS b\nCOPY --from=B /a /\n",
            "invalid from flag value B: refers to current build stage",
        ),
        (
            "FROM busybox\nCOPY --from=other /a /\n",
            "invalid from flag value other: No such image: other:latest",
        ),
        (
            "FROM busybox\nCOPY --chown=nobdy a.txt /\n",
            "unable to convert uid/gid chown string to host mapping: can't find uid for user nobdy: "
            "no such user: nobdy",
        ),
        ("FROM busybox\nCOPY --chmod=u+y a.txt /\n", "invalid chmod flag u+y"),
        (
            "FROM busybox\nCOPY a.txt /etc/passwd/x\n",
            "failed to copy files: cannot copy to non-directory: /etc/passwd/x",
        ),
        ("FROM busybox\nSTOPSIGNAL x\n", "Invalid signal: x"),
        ("FROM busybox\nRUN []\n", "No command specified"),
        ("FROM busybox\nRUN exit 3\n", "The command '/bin/sh -c exit 3' returned a non-zero code: 3"),
        ("FROM nothing\n", "No such image: nothing:latest"),
    ],
)
def test_errors_are_dockers_and_leave_nothing(
    workshop: Workshop, dockerfile: str | None, message: str
) -> None:
    before = workshop.images.list(all=True)
    with pytest.raises(EngineError) as caught:
        workshop.build(dockerfile, {"a.txt": "a", "b.txt": "b"}, tags=["x"])
    assert caught.value.message == message
    assert error_message(caught.value)["error"] == message
    assert workshop.images.list(all=True) == before
    with pytest.raises(NotFound):
        workshop.images.resolve("x")


@pytest.mark.parametrize(
    ("dockerfile", "hint", "mark"),
    [
        ("FRMO busybox\n", "did you mean FROM?", "FRMO"),
        ("FROM busybox\nCOPY a.tx /\n", "did you mean a.txt?", "a.tx"),
        ("FROM busyboy\n", "did you mean busybox:latest?", "busyboy"),
        (
            "FROM busybox\nRUN nothing-like-it\n",
            "nothing-like-it is not in this image: an earlier RUN may install it",
            "nothing-like-it",
        ),
        ("FROM busybox AS base\nFROM scratch\nCOPY --from=bas /x /\n", "did you mean base?", "bas"),
    ],
)
def test_errors_show_the_place(workshop: Workshop, dockerfile: str, hint: str, mark: str) -> None:
    with pytest.raises(EngineError) as caught:
        workshop.build(dockerfile, {"a.txt": "a"})
    assert (caught.value.hint, marked(caught.value.details["failure"])) == (hint, mark)


def test_the_message_that_ends_a_failed_stream(workshop: Workshop) -> None:
    with pytest.raises(RunFailed) as caught:
        workshop.build("FROM busybox\nRUN false\n")
    text = "The command '/bin/sh -c false' returned a non-zero code: 1"
    message = error_message(caught.value)
    assert message["error"] == text
    assert (message["errorDetail"]["code"], message["errorDetail"]["message"]) == (1, text)
    assert marked(message["errorDetail"]["failure"]) == "RUN"
    assert " ---> Running in " in workshop.messages[-1]["stream"]


def test_a_quiet_build_that_fails_tells_all(workshop: Workshop) -> None:
    with pytest.raises(RunFailed):
        workshop.build("FROM busybox\nRUN echo why; false\n", quiet=True)
    assert {"stream": "why\n"} in workshop.messages


def test_what_can_be_known_before_is_said_before_any_output(workshop: Workshop) -> None:
    with pytest.raises(DockerfileError):
        workshop.build("FROM busybox\nRUN true\nFRMO x\n")
    assert workshop.messages == []
    with pytest.raises(InvalidParameter, match="invalid reference format"):
        workshop.build("FROM busybox\nRUN true\n", tags=["UPPER"])
    assert workshop.messages == []


# --- interrupted


def test_a_cancelled_build_leaves_its_completed_steps(workshop: Workshop) -> None:
    async def cancel() -> None:
        workshop.runner.launcher = await Launcher.start(workshop.runner.directory / "launcher")
        tar = context_tar({"Dockerfile": "FROM busybox\nRUN echo 1 > /1\nRUN echo started; sleep 100\n"})
        started = asyncio.Event()

        def output(message: dict[str, str]) -> None:
            if message.get("stream") == "started\n":
                started.set()

        with workshop.store.temporary() as place, BuildContext.receive(io.BytesIO(tar), place) as context:
            task = asyncio.create_task(workshop.builder.build(context, BuildOptions(), output))
            await asyncio.wait_for(started.wait(), 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await workshop.runner.launcher.close()

    before = len(workshop.images.list(all=True))
    asyncio.run(cancel())
    assert len(workshop.images.list(all=True)) == before + 1
    workshop.runner.steps.clear()
    workshop.build("FROM busybox\nRUN echo 1 > /1\nRUN true\n")
    assert len(workshop.runner.steps) == 1


def test_what_is_pruned_meanwhile_is_not_the_build_s(workshop: Workshop) -> None:
    """Every image without a name is asked to go at every message of a build in stages."""

    def prune() -> list[str]:
        deleted = []
        for image in workshop.images.list():
            if not workshop.images.references(image.id):
                with contextlib.suppress(Conflict):
                    workshop.images.delete(image.id, lambda _: [])
                    deleted.append(image.id)
        return deleted

    class Pruning(list[dict[str, Any]]):
        def append(self, message: dict[str, Any]) -> None:
            super().append(message)
            prune()

    dockerfile = (
        "FROM busybox AS one\nRUN echo 1 > /1\nENV A=1\nFROM busybox\nCOPY two /2\n"
        "COPY --from=one /1 /1\nRUN cat /1 /2 > /3\n"
    )
    workshop.messages = Pruning()
    built = workshop.build(dockerfile, {"two": "2\n"})
    assert read(workshop, built.image, "3") == b"1\n2\n"
    assert built.image.id in prune(), "what is held is let go"


KILLED = """
import sys
from pathlib import Path
from typing import Any
from tests.engine.build.conftest import make_workshop

class Printing(list):
    def append(self, message):
        print(message, flush=True)

workshop = make_workshop(Path(sys.argv[1]))
workshop.messages = Printing()
dockerfile = "FROM busybox\\nRUN echo 1 > /1\\nCOPY big /big\\nRUN sleep 100\\n"
workshop.build(dockerfile, {f"big/{n}": b"x" * 2000 for n in range(3000)})
"""


@pytest.mark.parametrize("moment", ["Step 2/", "Step 3/", "Step 4/"])
def test_a_killed_build_leaves_a_consistent_store(tmp_path: Path, root: None, moment: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout
    for line in process.stdout:
        if moment in line:
            break
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    again = open_workshop(tmp_path, tmp_path / "run2")
    assert os.listdir(again.store.root / "tmp") == []
    for image in again.images.list(all=True):
        assert all(layer.directory.is_dir() for layer in again.images.layers(image))
    built = again.build("FROM busybox\nRUN echo 1 > /1\n")
    assert read(again, built.image, "1") == b"1\n"


def test_builds_side_by_side(workshop: Workshop) -> None:
    async def both() -> list[str]:
        workshop.runner.launcher = await Launcher.start(workshop.runner.directory / "launcher")
        try:
            return await asyncio.gather(*(one(number) for number in range(4)))
        finally:
            await workshop.runner.launcher.close()

    async def one(number: int) -> str:
        tar = context_tar({"Dockerfile": f"FROM busybox\nRUN echo same > /s\nRUN echo {number} > /n\n"})
        with workshop.store.temporary() as place, BuildContext.receive(io.BytesIO(tar), place) as context:
            return await workshop.builder.build(context, BuildOptions(), lambda _: None)

    ids = asyncio.run(both())
    made = [read(workshop, workshop.images.get(image_id), "n") for image_id in ids]
    assert made == [b"0\n", b"1\n", b"2\n", b"3\n"]
