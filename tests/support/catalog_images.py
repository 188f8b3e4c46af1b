"""The images that lessons start from: made by our engine's catalog once, loaded wherever they are needed."""

from __future__ import annotations

from pathlib import Path

from tests.support.daemons import Daemon

NAMES = ("debian", "golang")

#: Lessons compile Go's library in a dozen tests, 20 seconds of both processors each. With this they find it
#: compiled, by the same instruction; `make_archive` has compiled it in our engine, from nothing.
COMPILED = """
FROM golang
RUN go build net/http && CGO_ENABLED=0 go build net/http
"""


def make_archive(engine: Daemon, path: Path) -> None:
    """Let our engine make the images, and write them to `path` as `docker save` does."""
    for name in NAMES:
        made = engine.docker("pull", name, timeout=900)
        assert made.returncode == 0, made.stdout + made.stderr
    built = engine.docker("build", "-t", "golang", "-", input=COMPILED, timeout=600)
    assert built.returncode == 0, built.stderr
    saved = engine.docker("save", "-o", str(path), *NAMES, timeout=300)
    assert saved.returncode == 0, saved.stderr


def load_archive(daemon: Daemon, path: Path) -> None:
    """Load what `make_archive` wrote."""
    loaded = daemon.docker("load", "-i", str(path), timeout=300)
    assert loaded.returncode == 0, loaded.stderr
