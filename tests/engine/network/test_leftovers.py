"""An engine that is killed leaves nothing on the machine, and the next one starts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labkernel.engine.network import networks
from tests.engine.network.lone_engine import PORT
from tests.engine.network.places import Machine, fetch, ip, ruleset, wait_for
from tests.support.source_tree import REPOSITORY


@contextmanager
def lone_engine(directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    report = directory / "report.json"
    report.unlink(missing_ok=True)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.engine.network.lone_engine", str(directory), "root"], cwd=REPOSITORY
    ) as process:
        try:
            wait_for(lambda: report.exists() or process.poll() is not None, 10)
            yield process, json.loads(report.read_text())
        finally:
            process.kill()


def test_killed_it_leaves_nothing(machine: Machine, tmp_path: Path) -> None:
    before = machine.interfaces()
    for _ in range(2):
        with lone_engine(tmp_path) as (process, report):
            assert report["container"] == "web"
            assert fetch("127.0.0.1", PORT) == b"web"
            assert "labkernel" in ruleset()
            process.kill()
        wait_for(lambda: ruleset() == "")
        wait_for(lambda: machine.interfaces() == before)


def test_ended_it_leaves_nothing(machine: Machine, tmp_path: Path) -> None:
    before = machine.interfaces()
    with lone_engine(tmp_path) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert machine.interfaces() == before
    assert ruleset() == ""


def test_an_interface_of_the_same_engine_is_replaced(machine: Machine, tmp_path: Path) -> None:
    """The kernel may still be at work on what a killed engine had when the next one starts."""
    name = networks.interface_name(tmp_path)
    ip(f"link add {name} type veth peer name {name}x")
    ip(f"address add 172.17.0.1/16 dev {name}")
    with lone_engine(tmp_path) as (_, report):
        assert report["container"] == "web"
        assert report["web"]["address"] == "172.17.0.2"
        assert fetch("127.0.0.1", PORT) == b"web"
