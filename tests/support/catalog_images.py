"""The images that lessons start from: made by our engine's catalog once, loaded wherever they are needed."""

from __future__ import annotations

from pathlib import Path

from tests.support.daemons import Daemon

NAMES = ("debian", "golang")


def make_archive(engine: Daemon, path: Path) -> None:
    """Let our engine make the images, and write them to `path` as `docker save` does."""
    for name in NAMES:
        made = engine.docker("pull", name, timeout=900)
        assert made.returncode == 0, made.stdout + made.stderr
    saved = engine.docker("save", "-o", str(path), *NAMES, timeout=300)
    assert saved.returncode == 0, saved.stderr


def load_archive(daemon: Daemon, path: Path) -> None:
    """Load what `make_archive` wrote."""
    loaded = daemon.docker("load", "-i", str(path), timeout=300)
    assert loaded.returncode == 0, loaded.stderr
