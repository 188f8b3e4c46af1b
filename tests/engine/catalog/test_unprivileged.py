"""debian made by ordinary users: one with a range of subordinate ids, one with a single uid."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.engine.catalog.conftest import Made
from tests.support.room import Room
from tests.support.source_tree import REPOSITORY


def make_as(user: str, cache: Path) -> dict[str, tuple[int, str]]:
    directory = Path(tempfile.mkdtemp(prefix="labkernel-catalog-"))
    room = Room(user)
    try:
        # What root has downloaded is no secret, and need not come again.
        for name in ("packages", "indices"):
            shutil.copytree(cache / name, directory / "cache" / name)
        subprocess.run(["chown", "-R", f"{user}:", directory], check=True)
        log = directory / "log"
        pid = room.start(
            [sys.executable, "-m", "tests.engine.catalog.unprivileged", str(directory)],
            env={
                **{name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")},
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(REPOSITORY),
                "HOME": str(directory),
            },
            log=log,
        )
        assert room.wait(pid, 580) == 0, log.read_text()
        answers: dict[str, tuple[int, str]] = json.loads((directory / "answers.json").read_text())
        return answers
    finally:
        room.close()
        shutil.rmtree(directory)


def check(answers: dict[str, tuple[int, str]], *, owners: str) -> None:
    assert answers["audit"] == [0, "Reading package lists...\nBuilding dependency tree...\n"]
    assert answers["owners"] == [0, owners]
    code, said = answers["install"]
    assert code == 0, said
    assert "W:" not in said
    assert "memcached 1." in said


@pytest.mark.timeout(600)
def test_with_a_range_of_ids(debian: Made, cache: Path, user_with_range: str) -> None:
    check(make_as(user_with_range, cache), owners="root:shadow 640\nroot:mail 2775\nroot:shadow 2755\n")


@pytest.mark.timeout(600)
def test_with_one_id(debian: Made, cache: Path, user_with_one_id: str) -> None:
    check(make_as(user_with_one_id, cache), owners="root:root 640\nroot:root 2775\nroot:root 2755\n")
