"""Each flag built for real: files, owners and modes."""

from __future__ import annotations

import hashlib
import http.server
import io
import stat
import tarfile
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from labkernel.engine.build.rootfs import Rootfs
from labkernel.engine.build.sources import walk
from labkernel.engine.errors import InvalidParameter
from labkernel.engine.image.images import Image
from tests.engine.build.conftest import Files, Workshop, member

TREE: Files = {
    "a.txt": "a",
    "b.md": "b",
    "src": member(tarfile.DIRTYPE, mode=0o750),
    "src/one.txt": "1",
    "src/deep/two.txt": "2",
    "src/deep/two.md": "m",
    "run.sh": member(tarfile.REGTYPE, mode=0o755),
}


def layer(workshop: Workshop, image: Image) -> dict[str, str]:
    """The files of the last layer: mode, owner and, of a file, its content."""
    rootfs = Rootfs(workshop.store.layers.directories(image.chain_id)[:1], overlay=workshop.store.overlay)
    top = rootfs.find("")
    assert top is not None
    found = {}
    for entry in walk(rootfs, top):
        file = entry.file
        is_directory = file.type == b"5"
        content = "/" if is_directory else rootfs.read_at(entry, 0, 100).decode()
        found[entry.path] = f"{stat.S_IMODE(file.mode):o} {file.uid}:{file.gid} {content}"
    return found


@pytest.mark.parametrize(
    ("step", "files"),
    [
        (
            "COPY --parents src/deep/two.txt a.txt /p/",
            {
                "p": "755 0:0 /",
                "p/src": "750 0:0 /",
                "p/src/deep": "755 0:0 /",
                "p/src/deep/two.txt": "644 0:0 2",
                "p/a.txt": "644 0:0 a",
            },
        ),
        (
            "COPY --parents src/./**/*.md /p/",
            {"p": "755 0:0 /", "p/deep": "755 0:0 /", "p/deep/two.md": "644 0:0 m"},
        ),
        (
            "COPY --parents --exclude=**/*.md src/deep /p",
            {
                "p": "755 0:0 /",
                "p/src": "750 0:0 /",
                "p/src/deep": "755 0:0 /",
                "p/src/deep/two.txt": "644 0:0 2",
            },
        ),
        (
            "COPY --exclude=deep --exclude=*.md --chown=3:4 src *.md /p/",
            {"p": "755 3:4 /", "p/one.txt": "644 3:4 1"},
        ),
        (
            "ADD --exclude=**/*.txt src /p/",
            {"p": "755 0:0 /", "p/deep": "755 0:0 /", "p/deep/two.md": "644 0:0 m"},
        ),
        ("COPY --link a.txt /l/", {"l": "755 0:0 /", "l/a.txt": "644 0:0 a"}),
        ("COPY --link=false a.txt /l/", {"target": "755 0:0 /", "target/a.txt": "644 0:0 a"}),
        (
            "COPY --chmod=u=rwX,go=rX --chown=5 src run.sh /m/",
            {
                "m": "755 5:5 /",
                "m/one.txt": "644 5:5 1",
                "m/deep": "755 5:5 /",
                "m/deep/two.txt": "644 5:5 2",
                "m/deep/two.md": "644 5:5 m",
                "m/run.sh": "755 5:5 ",
            },
        ),
        ("COPY --chmod=g+w,o-r a.txt /m", {"m": "660 0:0 a"}),
        (
            "COPY <<one <<two /h/\n1\none\n2\ntwo",
            {"h": "755 0:0 /", "h/one": "644 0:0 1\n", "h/two": "644 0:0 2\n"},
        ),
        ("RUN --mount=type=tmpfs,target=/t/u,size=1m echo x > /t/u/f", {}),
        ("RUN --mount=target=/t cp /t/src/one.txt /got", {"got": "644 0:0 1"}),
        ("RUN --mount=source=a.txt,target=/t/f,rw echo >> /t/f && cp /t/f /got", {"got": "644 0:0 a\n"}),
        ("RUN --mount=from=other,source=/made,target=/t cp /t/x /got", {"got": "644 0:0 y\n"}),
        ("ARG W=/t\nRUN --mount=type=tmpfs,target=$W/x ls -d /t/x > /got", {"got": "644 0:0 /t/x\n"}),
        ("RUN --mount=type=tmpfs,target=/t mkdir -p /made", {"made": "755 0:0 /"}),
        ("RUN --network=none --security=sandbox echo x > /got", {"got": "644 0:0 x\n"}),
        ("RUN <<X\n#!/bin/sh\necho $0 > /got\nX", {"got": "644 0:0 /dev/pipes/X\n"}),
        (
            "ARG TARGETOS\nARG BUILDOS\nARG TARGETSTAGE\nRUN echo $TARGETOS $BUILDOS $TARGETSTAGE > /got",
            {"got": "644 0:0 linux linux default\n"},
        ),
    ],
)
def test_what_a_step_makes(workshop: Workshop, step: str, files: dict[str, str]) -> None:
    base = "FROM busybox AS other\nRUN mkdir /made && echo y > /made/x\n"
    base += "FROM busybox\nRUN mkdir /target && ln -s target /l\n"
    built = workshop.build(base + step + "\n", TREE)
    if files:
        assert layer(workshop, built.image) == files
    else:
        assert built.image.config["history"][-1]["empty_layer"]


def test_a_cache_persists_and_is_in_no_layer(workshop: Workshop) -> None:
    text = "FROM busybox\nRUN --mount=type=cache,target=/c,id=k,mode=0700,uid=7 echo x >> /c/log && "
    text += "cat /c/log && stat -c '%a %u' /c"
    first = workshop.build(text + " # 1\n")
    assert "x\n700 7\n" in first.text
    second = workshop.build(text + " # 2\n")
    assert "x\nx\n700 7\n" in second.text
    assert second.image.config["history"][-1]["empty_layer"]
    assert "Using cache" in workshop.build(text + " # 2\n").text


@pytest.mark.parametrize("sharing", ["shared", "private", "locked"])
def test_a_cache_begins_with_a_stage(workshop: Workshop, sharing: str) -> None:
    text = "FROM busybox AS other\nRUN mkdir /made && echo y > /made/x\nFROM busybox\n"
    text += f"RUN --mount=type=cache,target=/c,from=other,source=/made,sharing={sharing} cat /c/x"
    assert "y\n" in workshop.build(text).text


def test_a_bind_is_read_only_and_its_content_counts(workshop: Workshop) -> None:
    text = "FROM busybox\nRUN --mount=target=/t ! touch /t/new 2>/dev/null && cat /t/a\n"
    assert "1" in workshop.build(text, {"a": "1"}).text
    assert "Using cache" in workshop.build(text, {"a": "1"}).text
    assert "Using cache" not in workshop.build(text, {"a": "2"}).text


def test_network_goes_to_the_runner(workshop: Workshop) -> None:
    workshop.build("FROM busybox\nRUN --network=none true\n")
    assert workshop.runner.steps[-1].host_config["NetworkMode"] == "none"


def test_start_interval(workshop: Workshop) -> None:
    built = workshop.build("FROM busybox\nHEALTHCHECK --start-interval=2s CMD true\n")
    assert built.image.config["config"]["Healthcheck"]["StartInterval"] == 2 * 10**9


@pytest.fixture(scope="module")
def archive_server() -> Iterator[tuple[str, bytes]]:
    """A tar archive behind an address, and its content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("inner"))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(out.getvalue())

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever).start()
    yield f"http://127.0.0.1:{server.server_port}/x.tar", out.getvalue()
    server.shutdown()
    server.server_close()


def test_add_of_an_address(
    workshop: Workshop, archive_server: tuple[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    url, content = archive_server
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    built = workshop.build(f"FROM busybox\nADD --checksum={digest} --unpack {url} /u/\n")
    assert set(layer(workshop, built.image)) == {"u", "u/inner"}
    built = workshop.build("FROM busybox\nADD --unpack=false x.tar /\n", {"x.tar": content})
    assert set(layer(workshop, built.image)) == {"x.tar"}
    with pytest.raises(InvalidParameter, match="digest mismatch " + digest):
        workshop.build(f"FROM busybox\nADD --checksum=sha256:{'0' * 64} {url} /u/\n")


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("RUN --mount=type=secret,id=x,required cat /run/secrets/x", "secret x: not found"),
        ("RUN --mount=type=secret,target=/a/y,required=1 true", "secret y: not found"),
        ("RUN --mount=type=ssh,required true", 'no SSH key "default" forwarded from the client'),
        ("RUN --mount=type=secret true", "invalid secret mount. one of source, target required"),
        ("RUN --mount=type=secret,id=x,src=y true", "both source and id can't be set"),
        ("RUN --mount=type=secret,id=x,from=y true", "secret mount should not have a from"),
        ("RUN --mount=type=ssh,src=y true", "ssh does not support source"),
        (
            "RUN --mount=type=cache,target=/x,required true",
            "unexpected key 'required' for mount",
        ),
        ("RUN --mount=type=foo,target=/x true", 'unsupported mount type "foo"'),
        ("RUN --mount=type=cache true", '"target" is required'),
        ("RUN --mount=target=/x,foo true", "invalid field 'foo' must be a key=value pair"),
        ("RUN --mount=target=/x,size=1 true", "unexpected key 'size' for mount type 'bind'"),
        ("RUN --mount=type=cache,target=/x,sharing=no true", 'unsupported sharing value "no"'),
        ("RUN --mount=type=cache,target=/x,mode=9 true", "invalid value 9 for mode"),
        ("RUN --mount=type=tmpfs,target=/x,size=y true", "invalid value for size: y"),
        ("RUN --mount=source=absent,target=/x true", "absent: file does not exist"),
        ("RUN --network=lan true", 'unsupported network mode "lan"'),
        ("RUN --security=insecure true", "security.insecure is not allowed"),
        ("COPY --link=maybe a b", "Expecting boolean value for flag link, not: maybe"),
        ("COPY --parents absent /", "absent: file does not exist"),
        ("COPY --parents ../x /", "Forbidden path outside the build context"),
        ("COPY --exclude a b", "Missing a value on flag: exclude"),
        ("COPY --chmod=u+q a.txt /", r"invalid chmod flag u\+q"),
        ("ADD --checksum=sha256:12 http://x/y /", "invalid checksum digest length"),
        (f"ADD --checksum=sha256:{'0' * 64} a.txt /", "checksum requires"),
        ("ADD --checksum=sha256:12 a b /", "checksum can't be specified for multiple sources"),
    ],
)
def test_errors(workshop: Workshop, step: str, message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        workshop.build(f"FROM busybox\n{step}\n", TREE)


@pytest.mark.parametrize(
    ("step", "advice"),
    [
        ("RUN --device=x true", "`docker run --device` gives one"),
        ("RUN --mont=type=cache,target=/x true", "did you mean --mount?"),
        (
            "ADD --from=x a b",
            "ADD has --chown, --chmod, --exclude, --link, --checksum, --unpack, --keep",
        ),
        ("ENV --x=y a=b", "ENV has no flags"),
    ],
)
def test_flags_that_are_not_there(workshop: Workshop, step: str, advice: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        workshop.build(f"FROM busybox\n{step}\n")
    assert advice in (caught.value.hint or "")
    failure = caught.value.details["failure"]
    assert step.split()[1].partition("=")[0] in failure["lines"][failure["line"] - 1]["text"]
