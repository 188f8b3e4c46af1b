"""Warnings about the engine come once a session, those about what was asked for each time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from labkernel.commands.told import is_news

STANDING = "containers here do not reach the outside world (RUN steps of a build do): see there"


def test_once_a_process_and_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert [is_news("unix:///one", STANDING) for _ in range(2)] == [True, False]
    assert is_news("unix:///two", STANDING)
    assert all(is_news("unix:///one", "Limitation discarded.") for _ in range(2))


def test_once_a_session(tmp_path: Path) -> None:
    program = f"from labkernel.commands.told import is_news; print(is_news('unix:///one', {STANDING!r}))"
    shell = f'for round in 1 2; do {sys.executable} -c "$PROGRAM"; done'

    def session(place: str) -> list[str]:
        environment = {"PROGRAM": program, "XDG_RUNTIME_DIR": place}
        return subprocess.run(
            ["sh", "-c", shell], env=environment, start_new_session=True, capture_output=True, text=True
        ).stdout.split()

    assert session(str(tmp_path)) == ["True", "False"]
    assert session(str(tmp_path)) == ["True", "False"], "another session"
    assert session(str(tmp_path / "missing")) == ["True", "True"]
