"""--squash, beside a dockerd with experimental features."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine.build.conftest import context_tar
from tests.support.daemons import Daemon, running

DOCKERFILES = {
    "on an image": """
FROM busybox
RUN mkdir /dir /dir/sub && echo 1 > /dir/one && echo 2 > /dir/two && ln /dir/two /dir/again
ENV A=b
RUN rm /dir/one && echo 3 > /dir/two && rm /etc/passwd && rm -r /home && mkdir -m 700 /home && touch /home/new
RUN rm -r /usr && mkdir /usr && touch /usr/new /bin/new && rm /bin/ls && rm -r /root && echo > /root
RUN rm -r /var && ln -s /tmp /var && chmod 1777 /etc && chown 3:4 /dir && rm -r /dir/sub
""",
    "on scratch": "FROM scratch\nCOPY file /a/file\nCOPY file /b\n",
    "on a stage": "FROM busybox AS one\nRUN echo 1 > /1\nFROM one\nRUN rm /1\nRUN echo 2 > /2\n",
}


@pytest.fixture(scope="module")
def experimental(root: None) -> Iterator[Daemon]:
    with running("dockerd", options=["--experimental"]) as daemon:
        yield daemon


def squashed(daemon: Daemon, dockerfile: str) -> tuple[list[str], list[Any], dict[str, Any]]:
    """The files of the last layer; how many layers there are, and the history; the configuration."""
    context = context_tar({"Dockerfile": dockerfile, "file": "x"})
    answer = daemon.http.call("POST", "/build?squash=1", context, {"Content-Type": "application/x-tar"})
    messages = [json.loads(line) for line in answer.body.splitlines() if line]
    image = [message["aux"]["ID"] for message in messages if "aux" in message][-1]
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
            files = sorted(
                f"{member.name} {member.type!r} {member.mode & 0o7777:o} {member.uid}:{member.gid} "
                f"{member.size} {member.linkname}"
                for member in layer
            )
    history = [
        (entry.get("empty_layer", False), entry.get("comment", "")[:6]) for entry in document["history"]
    ]
    return files, [len(document["rootfs"]["diff_ids"]), history], document["config"]["Env"]


@pytest.mark.parametrize("case", DOCKERFILES)
def test_squash(engine: Daemon, experimental: Daemon, case: str) -> None:
    ours, theirs = (squashed(daemon, DOCKERFILES[case]) for daemon in (engine, experimental))
    assert ours == theirs


def test_nothing_to_join(engine: Daemon) -> None:
    """dockerd fails to."""
    _, (layers, history), environment = squashed(engine, "FROM busybox\nENV A=b\n")
    assert (layers, history[-1][0], environment[-1]) == (1, True, "A=b")
