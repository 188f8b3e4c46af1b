"""The application of the lessons, seen by Go's own tools in the image that the lessons build it in."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkernel.notebook.lab import lessons
from tests.support.catalog_images import load_archive
from tests.support.daemons import Daemon

IMPORT_PATH = "example.org/learner/webapp"


@pytest.mark.timeout(1800)  # it compiles Go's library, and may be the first to make the golang image
def test_gofmt_vet_and_its_own_tests(engine: Daemon, images_archive: Path) -> None:
    load_archive(engine, images_archive)
    script = f"""
        set -e
        cd /go/src/{IMPORT_PATH}
        test -z "$(gofmt -l .)"
        go vet {IMPORT_PATH}/...
        go test {IMPORT_PATH}/...
    """
    mount = f"{lessons() / 'app'}:/go/src/{IMPORT_PATH}:ro"
    run = ["run", "--rm", "-v", mount, "-e", "GO111MODULE=auto", "golang", "sh", "-c", script]
    done = engine.docker(*run, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == 2
