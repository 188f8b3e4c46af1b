from __future__ import annotations

import subprocess
import sys

import pytest

from tests.notebook.conftest import Shell


def test_an_engine_that_does_not_answer_is_one_block(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/engine.sock")
    ran = shell.run("%load_ext labkernel")
    assert ran.error is not None
    assert "Cannot connect to the Docker daemon at unix:///nowhere/engine.sock" in ran.stdout
    assert "hint:" in ran.stdout
    assert "Traceback" not in ran.stdout
    assert "docker" not in shell.ipython.magics_manager.magics["line"]


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = "import sys, labkernel; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    assert not {"docker", "requests", "IPython", "ipywidgets", "pyroute2"} & set(loaded.split())
