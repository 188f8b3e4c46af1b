"""The linters and the type checker, run as tests with the configuration in pyproject.toml."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.source_tree import REPOSITORY


@pytest.mark.parametrize(
    "command",
    [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]],
    ids=["ruff-check", "ruff-format", "mypy"],
)
def test_clean(command: list[str]) -> None:
    ended = subprocess.run([sys.executable, "-m", *command], cwd=REPOSITORY, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
