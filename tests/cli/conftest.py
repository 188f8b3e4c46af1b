"""The command `labkernel` as a process, as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.support.daemons import Daemon

LABKERNEL = [sys.executable, "-m", "labkernel"]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def labkernel(docker_host: Daemon) -> Run:
    """Runs `labkernel ARGS` with DOCKER_HOST set to our engine, then to Docker's."""

    def run(*argv: str, **options: object) -> subprocess.CompletedProcess[str]:
        return docker_host.run([*LABKERNEL, *argv], **options)

    return run
