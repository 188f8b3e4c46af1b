"""`RUN --mount` through the API, with each kind of privilege."""

from __future__ import annotations

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
