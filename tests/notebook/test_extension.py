from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from labkernel import engine_process
from tests.notebook.conftest import Shell
from tests.support.daemons import Daemon


def test_an_engine_that_does_not_answer_is_one_block(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/engine.sock")
    ran = shell.run("%load_ext labkernel")
    assert ran.error is not None
    assert "Cannot connect to the Docker daemon at unix:///nowhere/engine.sock" in ran.stdout
    assert "where: %load_ext labkernel" in str(ran.error)
    assert 'hint:  for labkernel\'s own engine: del os.environ["DOCKER_HOST"]' in str(ran.error)
    assert "%reload_ext labkernel" in ran.stdout
    assert "Traceback" not in ran.stdout


def test_the_magics_are_there_before_the_engine_is(
    shell: Shell, engine: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A magic looks for the engine each time: the cell that failed can simply be run again."""
    monkeypatch.setenv("DOCKER_HOST", "bogus")
    assert shell.run("%load_ext labkernel").error is not None
    failed = shell.run("%docker ps")
    assert "where: docker ps" in str(failed.error)
    assert "why:   DOCKER_HOST names another engine than labkernel's own: bogus" in str(failed.error)
    assert "%reload_ext labkernel" in failed.stdout
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    assert "CONTAINER ID" in shell.succeeds("%docker ps").text
    assert "answers at" in shell.succeeds("%reload_ext labkernel").stdout
    shell.succeeds("%unload_ext labkernel")
    assert "docker" not in shell.ipython.magics_manager.magics["line"]


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = "import sys, labkernel; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    assert not {"docker", "requests", "IPython", "ipywidgets", "pyroute2"} & set(loaded.split())


def test_our_own_engine_is_started_when_no_other_is_named(
    shell: Shell, root: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Socket paths end at 107 bytes: pytest's own directories are too deep.
    directory = Path(tempfile.mkdtemp(prefix="lk-"))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("LABKERNEL_ROOT", str(directory))
    try:
        assert "labkernel" in shell.succeeds("%load_ext labkernel").stdout
        host = os.environ["DOCKER_HOST"]
        assert str(directory) in host
        assert shell.succeeds("%docker ps").error is None
        # The engine may go while a notebook is open: the next command starts it again.
        assert engine_process.stop()
        assert shell.succeeds("%docker ps -a").error is None
        assert os.environ["DOCKER_HOST"] == host
        shell.succeeds("%unload_ext labkernel")
        assert "DOCKER_HOST" not in os.environ
        assert engine_process.status().running
    finally:
        engine_process.stop()
        shutil.rmtree(directory)


def test_what_is_limited_is_not_kept_quiet(
    shell: Shell, engine: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    said = shell.succeeds("%load_ext labkernel").stdout
    limits = engine.http.call("GET", "/labkernel/status").json()["Limits"]
    assert ("engine status" in said) == bool(limits)


def test_a_slip_in_the_name_of_a_magic(shell: Shell, engine: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    shell.succeeds("%load_ext labkernel")
    assert "hint:  did you mean %docker?" in shell.run("%dokcer ps").stderr
    assert "hint:  did you mean %%dockerfile?" in shell.run("%%dockerfil\nFROM x").stderr
    shell.succeeds("%unload_ext labkernel")
    said = shell.run("%dokcer ps").stderr
    assert "not found" in said
    assert "did you mean" not in said
