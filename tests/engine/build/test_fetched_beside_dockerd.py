"""What a build fetches, ADD of an address and FROM of a digest, built by our engine and by dockerd."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engine.build.beside_dockerd import Case, Saved, comparable, differences, image_id, messages, saved
from tests.engine.distribution.servers import RegistryProcess
from tests.support.daemons import Daemon
from tests.support.room import wait_until

ADDRESS = "http://127.0.0.1:8123"
ADDED = """
FROM scratch
ADD {at}/a.txt /
ADD {at}/a.txt /named
ADD {at}/a.txt?q=1 /folder/
ADD --chown=3:4 {at}/a.txt /owned
ADD {at}/x.tar.gz /packed/
ADD {at}/a.txt {at}/x.tar.gz own /several/
ADD {at}/sub%20folder/b%20c.txt /blank/
"""
REFUSED = {
    "no name": (f"{ADDRESS}/ /x/", "ADD failed: cannot determine filename for source http"),
    "not found": (f"{ADDRESS}/none /x/", "ADD failed: failed to GET http"),
    "nobody there": ("http://127.0.0.1:8124/x /x/", 'ADD failed: Get "http://127.0.0.1:8124/x": '),
}


@contextmanager
def web(daemon: Daemon, directory: Path) -> Iterator[None]:
    """The directory's files at ADDRESS, in the daemon's own network."""
    serve = [
        sys.executable,
        "-m",
        "http.server",
        "8123",
        "--bind",
        "127.0.0.1",
        "--directory",
        str(directory),
    ]
    with subprocess.Popen(
        [*daemon.room.inside, *serve], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            for _ in wait_until(20):
                if daemon.room.run(["curl", "-sf", ADDRESS]).returncode == 0:
                    break
            yield
        finally:
            server.terminate()


def built(daemon: Daemon, case: Case) -> Saved:
    return saved(daemon, image_id(messages(daemon, case)))


def test_add_of_addresses(engine: Daemon, dockerd: Daemon, tmp_path: Path) -> None:
    (tmp_path / "sub folder").mkdir()
    for name, time in {"a.txt": 1_500_000_000, "x.tar.gz": 1_400_000_000, "sub folder/b c.txt": 1}.items():
        (tmp_path / name).write_bytes(b"\x1f\x8b" + name.encode())
        os.utime(tmp_path / name, (time, time))
    case = Case(ADDED.format(at=ADDRESS), {"own": "x"})
    found: list[Saved] = []
    refused: dict[str, list[str]] = {name: [] for name in REFUSED}
    for daemon in (engine, dockerd):
        with web(daemon, tmp_path):
            found.append(built(daemon, case))
            for name, (arguments, _) in REFUSED.items():
                refused[name].append(messages(daemon, Case(f"FROM scratch\nADD {arguments}\n"))[-1]["error"])
    ours, theirs = found
    assert differences(ours.layers, theirs.layers) == []
    assert differences(comparable(ours.config), comparable(theirs.config)) == []
    for name, (_, beginning) in REFUSED.items():
        assert [error.startswith(beginning) for error in refused[name]] == [True, True], refused[name]


@pytest.mark.parametrize("reference", ["{name}@{digest}", "{name}:tag@{digest}", "{short}"])
def test_from_a_reference(engine: Daemon, dockerd: Daemon, tmp_path: Path, reference: str) -> None:
    found: list[Saved] = []
    for daemon in (engine, dockerd):
        directory = tmp_path / daemon.kind
        directory.mkdir()
        registry = RegistryProcess(directory, "", inside=daemon.room.inside)
        name = f"{registry.domain}/busy"
        try:
            daemon.docker("tag", "busybox", f"{name}:tag")
            pushed = daemon.docker("push", f"{name}:tag").stdout
            digest = re.findall(r"sha256:[0-9a-f]{64}", pushed)[-1]
            known = daemon.docker("image", "inspect", "-f", "{{.Id}}", "busybox").stdout.strip()
            daemon.docker("rmi", f"{name}:tag")
            text = reference.format(name=name, digest=digest, id=known, short=known[7:19])
            found.append(built(daemon, Case(f"FROM {text}\nLABEL a=b\n")))
        finally:
            registry.stop()
            daemon.clear()
    ours, theirs = found
    assert differences(comparable(ours.config), comparable(theirs.config)) == []
    assert differences(ours.layers, theirs.layers) == []
