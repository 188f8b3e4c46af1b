"""Same input, same digest: under SOURCE_DATE_EPOCH an image's id depends on what it is built from alone.

Source: reproducible-builds.org/specs/source-date-epoch.
"""

from __future__ import annotations

import json
import os
import time
from urllib.parse import urlencode

import pytest

from tests.engine.build.conftest import Files, Workshop, context_tar
from tests.engine.build.test_against_dockerd import TREE, archive
from tests.support.daemons import Daemon

EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}
PLAIN = """
FROM busybox AS one
WORKDIR /made/here
RUN mkdir -p a/b && echo 1 > a/b/file && ln a/b/file a/hard && ln -s b/file a/soft && chmod 700 a/b
RUN rm -r a/b && mkdir a/b && touch a/b/new && rm /bin/true && mkfifo /pipe
FROM busybox AS two
COPY a.txt b.txt link /copied/
COPY --chmod=711 a.txt /etc/new/
RUN --mount=type=cache,target=/cache --mount=from=one,target=/one date > /cache/now; cp -r /one/made /made
FROM one
COPY --from=two /copied /made /from-two/
ADD plain.tar /unpacked
COPY <<END /heredoc
$HOME
END
LABEL a=b
CMD ["true"]
"""
OWNED = """
FROM busybox AS one
COPY dir /dir
ADD owned.tar /unpacked
RUN chown -R 12:34 /dir/sub && chmod 4711 /unpacked/deep/er/file && touch /dir/new && chgrp 5 /dir/new
FROM busybox
COPY --from=one --chown=7:8 /dir /dir
COPY --from=one /unpacked /unpacked
COPY --chown=daemon a.txt /
USER daemon
RUN echo x > /tmp/x
"""
FILES: Files = {**TREE, "owned.tar": archive(), "plain.tar": context_tar({"in/a": "1\n", "in/b": "2\n"})}


def built(daemon: Daemon, dockerfile: str) -> str:
    query = urlencode({"buildargs": json.dumps(EPOCH)})
    answer = daemon.http.call("POST", f"/build?{query}", context_tar({"Dockerfile": dockerfile, **FILES}))
    ids = [message["aux"]["ID"] for message in answer.json_lines() if "ID" in message.get("aux", {})]
    assert ids, answer.body
    assert b"Using cache" not in answer.body
    daemon.clear()
    last: str = ids[-1]
    return last


@pytest.mark.parametrize("dockerfile", [PLAIN, OWNED], ids=["plain", "owned"])
def test_in_another_store_at_another_time_by_another_user(
    dockerfile: str,
    workshop: Workshop,
    engine: Daemon,
    user_engine: Daemon,
    single_uid_engine: Daemon,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By root, by a user with a range of ids, and, where all files are root's, by one with a single id; with
    stages side by side, and one after the other."""
    ids = {"root": built(engine, dockerfile)}
    time.sleep(1.1)  # files' times are in whole seconds
    ids["again"] = built(engine, dockerfile)
    ids["user"] = built(user_engine, dockerfile)
    if dockerfile == PLAIN:
        ids["single uid"] = built(single_uid_engine, dockerfile)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    ids["one processor"] = workshop.build(dockerfile, FILES, build_args=EPOCH).image.id
    assert len(set(ids.values())) == 1, ids
