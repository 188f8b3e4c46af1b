"""`RUN --mount` through the API, with each kind of privilege."""

from __future__ import annotations

import json

from tests.engine.build.conftest import context_tar
from tests.support.daemons import Daemon

DOCKERFILE = """
FROM busybox AS made
RUN echo from the stage > /file
FROM busybox
RUN --mount=type=cache,target=/cache echo {run} >> /cache/log && cp /cache/log /seen
RUN --mount=type=bind,from=made,source=/file,target=/mnt/file --mount=type=tmpfs,target=/memory \\
    cat /mnt/file >> /seen && touch /memory/x
"""


def built(engine: Daemon, run: str) -> str:
    """What the steps saw."""
    done = engine.docker("build", "-q", "-", input=DOCKERFILE.format(run=run))
    assert done.returncode == 0, done.stderr
    shown = ["sh", "-c", "cat /seen; ls -d /cache/* /mnt /memory/* 2>/dev/null"]
    return engine.docker("run", "--rm", "--network", "none", done.stdout.strip(), *shown).stdout


def test_a_cache_lives_until_it_is_pruned(any_engine: Daemon) -> None:
    assert built(any_engine, "one") == "one\nfrom the stage\n"
    assert built(any_engine, "two") == "one\ntwo\nfrom the stage\n"
    pruned = any_engine.http.call("POST", "/build/prune").json()
    assert (len(pruned["CachesDeleted"]), pruned["SpaceReclaimed"]) == (1, len("one\ntwo\n"))
    assert built(any_engine, "three") == "three\nfrom the stage\n"
    any_engine.http.call("POST", "/build/prune")


BINDS = """
FROM busybox AS made
RUN mkdir -p /tree/sub && echo 1 > /tree/one && echo 2 > /tree/two && ln -s /tree/sub /link && ln -s / /top
RUN rm /tree/one && echo 3 > /tree/sub/three && chown 5:6 /tree/sub/three
FROM busybox
RUN --mount=type=bind,from=made,source=/link,target=/mnt,rw \\
    stat -c '%u %g %n' /mnt/*; echo written > /mnt/three && echo x > /mnt/new && cat /mnt/*
RUN --mount=type=bind,from=made,source=/top/top/tree,target=/mnt ls /mnt /mnt/sub; cat /mnt/sub/three; \\
    touch /mnt/x 2>/dev/null || echo re''fused
RUN --mount=type=bind,target=/context,rw --mount=type=bind,source=file,target=/one,rw \\
    echo more >> /context/file; rm -r /context/dir; echo else > /one; ls /context; cat /context/file /one
RUN --mount=type=bind,target=/context --mount=type=bind,source=file,target=/one \\
    ls /context; cat /context/file /one; touch /context/x 2>/dev/null || echo re''fused
RUN ls -d /mnt /context /one 2>/dev/null; echo nothing left
"""
BOUND = [
    "5 6 /mnt/three\nx\nwritten\n",
    "/mnt:\nsub\ntwo\n\n/mnt/sub:\nthree\n3\n",
    "Dockerfile\nfile\ntext\nmore\nelse\n",
    "Dockerfile\ndir\nfile\ntext\ntext\n",
    "nothing left\n",
]


def test_binds_show_files_where_they_lie(any_engine: Daemon) -> None:
    """What is written to one is seen by nobody else, and kept nowhere."""
    context = context_tar({"Dockerfile": BINDS, "file": "text\n", "dir/below": "x"})
    answer = any_engine.http.call("POST", "/build?nocache=1", context, {"Content-Type": "application/x-tar"})
    messages = [json.loads(line) for line in answer.body.splitlines() if line]
    said = "".join(message.get("stream", "") for message in messages)
    assert "error" not in messages[-1], messages[-1]
    said = said.replace("0 0 /mnt/three", "5 6 /mnt/three")  # where there is one user id only
    for printed in BOUND:
        assert printed in said
    assert said.count("refused\n") == 2
