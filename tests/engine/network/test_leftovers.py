"""An engine that is killed leaves nothing on the machine, and the next one starts."""

from __future__ import annotations

import signal
from pathlib import Path

from labkernel.engine.network import networks
from tests.engine.network.lone_engine import PORT, running_alone
from tests.engine.network.places import Machine, fetch, ip, ruleset, wait_for


def test_killed_it_leaves_nothing(machine: Machine, tmp_path: Path) -> None:
    before = machine.interfaces()
    for _ in range(2):
        with running_alone(tmp_path) as (process, report):
            assert report["container"] == "web"
            assert fetch("127.0.0.1", PORT) == b"web"
            assert "labkernel" in ruleset()
            process.kill()
        wait_for(lambda: ruleset() == "")
        wait_for(lambda: machine.interfaces() == before)


def test_ended_it_leaves_nothing(machine: Machine, tmp_path: Path) -> None:
    before = machine.interfaces()
    with running_alone(tmp_path) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert machine.interfaces() == before
    assert ruleset() == ""


def test_an_interface_of_the_same_engine_is_replaced(machine: Machine, tmp_path: Path) -> None:
    """The kernel may still be at work on what a killed engine had when the next one starts."""
    name = networks.interface_name(tmp_path)
    ip(f"link add {name} type veth peer name {name}x")
    ip(f"address add 172.17.0.1/16 dev {name}")
    with running_alone(tmp_path) as (_, report):
        assert report["container"] == "web"
        assert report["web"]["address"] == "172.17.0.2"
        assert fetch("127.0.0.1", PORT) == b"web"
