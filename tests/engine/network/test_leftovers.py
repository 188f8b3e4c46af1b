"""An engine that is killed leaves nothing on the machine, and the next one starts."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labkernel.engine.network import networks
from tests.engine.network.lone_engine import PORT, running_alone
from tests.engine.network.places import Machine, fetch, ip, ruleset, wait_for
from tests.support.source_tree import REPOSITORY


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


def test_killed_at_any_moment_of_its_work(machine: Machine, tmp_path: Path) -> None:
    before = machine.interfaces()
    for number in range(8):
        with hurrying(tmp_path) as process:
            time.sleep(0.03 * number)
            process.kill()
        wait_for(lambda: ruleset() == "")
        wait_for(lambda: machine.interfaces() == before)
    with running_alone(tmp_path) as (_, report):
        assert report["container"] == "web"


HURRY = """
import asyncio, itertools, pathlib, sys
from labkernel.engine.database import Database
from labkernel.engine.network.networks import Networks
from labkernel.engine.network.ports import requested_ports

async def main():
    directory = pathlib.Path(sys.argv[1])
    database = Database(directory / "engine.db")
    ports = requested_ports({"PortBindings": {"80/tcp": [{"HostPort": ""}]}})
    networks = await Networks.open(state_dir=directory, database=database, rootless=False)
    for number in itertools.count():
        await networks.connect(str(number), "bridge", ports=ports)
        if number == 0:
            print("hurrying", flush=True)
        if number >= 5:
            await networks.disconnect(str(number - 5))

asyncio.run(main())
"""


@contextmanager
def hurrying(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that connects and disconnects containers without end."""
    command = [sys.executable, "-c", HURRY, str(directory)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"hurrying\n"
            yield process
        finally:
            process.kill()


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
