"""--squash. What is expected is what Docker 20.10 makes of these Dockerfiles where it is experimental."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pytest

from tests.engine.build.conftest import context_tar
from tests.support.daemons import Daemon

CASES = {
    """FROM busybox
RUN mkdir /dir /dir/sub && echo 1 > /dir/one && echo 2 > /dir/two && ln /dir/two /dir/again
ENV A=b
RUN rm /dir/one && echo 3 > /dir/two && rm /etc/passwd && rm -r /home && mkdir -m 700 /home && touch /home/new
RUN rm -r /usr && mkdir /usr && touch /usr/new /bin/new && rm /bin/ls && rm -r /root && echo > /root
RUN rm -r /var && ln -s /tmp /var && chmod 1777 /etc && chown 3:4 /dir && rm -r /dir/sub
""": (
        {
            *("bin 755 0:0", "bin/.wh.ls 0 0:0", "bin/new 644 0:0"),
            *("dir 755 3:4", "dir/again 644 0:0", "dir/two 644 0:0"),
            *("etc 1777 0:0", "etc/.wh.passwd 0 0:0", "home 700 0:0", "home/new 644 0:0", "root 644 0:0"),
            *("usr 755 0:0", "usr/new 644 0:0", "var 777 0:0 -> /tmp"),
        },
        2,
        [(False, "test"), *[(True, "")] * 5, (False, "merge ")],
    ),
    "FROM scratch\nCOPY file /a/file\nCOPY file /b\n": (
        {"a 755 0:0", "a/file 644 0:0", "b 644 0:0"},
        1,
        [(True, ""), (True, ""), (False, "create")],
    ),
    "FROM busybox AS one\nRUN echo 1 > /1\nFROM one\nRUN rm /1\nRUN echo 2 > /2\n": (
        {".wh.1 0 0:0", "2 644 0:0"},
        3,
        [(False, "test"), (False, ""), (True, ""), (True, ""), (False, "merge ")],
    ),
}


def squashed(daemon: Daemon, dockerfile: str) -> tuple[set[str], int, list[tuple[bool, str]]]:
    """The files of the last layer; how many layers there are; the history: what made no layer, comments."""
    context = context_tar({"Dockerfile": dockerfile, "file": "x"})
    answer = daemon.http.call("POST", "/build?squash=1", context, {"Content-Type": "application/x-tar"})
    messages = [json.loads(line) for line in answer.body.splitlines() if line]
    image = [message["aux"]["ID"] for message in messages if "ID" in message.get("aux", {})][-1]
    assert messages[-1] == {"stream": f"Successfully built {image[7:19]}\n"}
    saved = daemon.http.call("GET", f"/images/{image}/get").body
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:

        def read(name: str) -> Any:
            file = archive.extractfile(name)
            assert file
            return file

        manifest = json.load(read("manifest.json"))[0]
        document = json.load(read(manifest["Config"]))
        with tarfile.open(fileobj=read(manifest["Layers"][-1])) as layer:
            files = {
                f"{member.name} {member.mode & 0o7777:o} {member.uid}:{member.gid}"
                + (f" -> {member.linkname}" if member.issym() else "")
                for member in layer
            }
    history = [(one.get("empty_layer", False), one.get("comment", "")[:6]) for one in document["history"]]
    return files, len(document["rootfs"]["diff_ids"]), history


@pytest.mark.parametrize("dockerfile", CASES)
def test_squash(engine: Daemon, dockerfile: str) -> None:
    assert squashed(engine, dockerfile) == CASES[dockerfile]


def test_nothing_to_join(engine: Daemon) -> None:
    """Docker fails to."""
    _, layers, history = squashed(engine, "FROM busybox\nENV A=b\n")
    assert (layers, history) == (1, [(False, "test"), (True, "")])
