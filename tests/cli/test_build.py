"""labkernel docker build, as a process: a failure is on standard error, in colours on a terminal only."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemons import Daemon
from tests.support.mistakes import BY_NAME

BUILD = (sys.executable, "-m", "labkernel", "docker", "build")
CHOSEN = ("typo", "left out by .dockerignore", "Windows line ends", "command misspelt, in a here-document")


def environment(engine: Daemon) -> dict[str, str]:
    return {**os.environ, "DOCKER_HOST": engine.url}


@pytest.fixture
def context(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    mistake = BY_NAME[request.param]
    for name, text in {"Dockerfile": mistake.dockerfile, **mistake.files}.items():
        (tmp_path / name).write_bytes(text.encode())
    return tmp_path


@pytest.mark.parametrize(("context", "name"), [(name, name) for name in CHOSEN], indirect=["context"])
def test_a_mistake_is_shown(engine: Daemon, context: Path, name: str) -> None:
    mistake = BY_NAME[name]
    done = subprocess.run(
        [*BUILD, "."], cwd=context, env=environment(engine), capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    lines = done.stderr.splitlines()
    assert f"Dockerfile:{mistake.line}" in lines
    source = mistake.dockerfile.splitlines()[mistake.line - 1]
    assert f"  {mistake.line} | >>> {source}" in lines
    assert any(line.endswith(" " + "^" * len(mistake.marked)) for line in lines)
    assert mistake.hint in lines[-1]
    assert lines[-1].startswith("hint:  ")
    assert ("exit code 127: command not found" in lines) == (mistake.meaning is not None)
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("context", ["typo"], indirect=True)
def test_colours_are_for_a_terminal(engine: Daemon, context: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            [*BUILD, "."], cwd=context, env=environment(engine), stderr=theirs, stdout=theirs, timeout=60
        )
        assert b"\x1b[31m>>>\x1b[0m RUNN true" in os.read(ours, 65536)
    finally:
        os.close(ours)
        os.close(theirs)


def test_check_builds_nothing(engine: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox:1\nRUN cd /app\n")
    done = subprocess.run(
        [*BUILD, "--check", str(tmp_path)],
        env=environment(engine),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "WARNING: DL3003 - " in done.stdout
    assert "  2 | >>> RUN cd /app" in done.stdout
    assert "Step 1/" not in done.stdout
