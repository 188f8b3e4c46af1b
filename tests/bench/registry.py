"""Push and pull of an image of four layers, to what has nothing of it yet."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from tests.bench.measure import Row, alternated, seconds
from tests.engine.distribution.servers import RegistryProcess
from tests.support.daemons import Daemon

_LAYERS, _SIZE = 4, 32 << 20


def push_and_pull(daemons: dict[str, Daemon], place: Path) -> list[Row]:
    """docker-registry on loopback, a new one for each push; half of what a layer holds can be compressed."""
    pulls: dict[str, list[float]] = {name: [] for name in daemons}
    numbers = count()
    for daemon in daemons.values():
        _call(daemon, "/build?t=me/big", _context())

    def once(name: str) -> float:
        daemon = daemons[name]
        directory = place / f"registry{next(numbers)}"
        directory.mkdir()
        registry = RegistryProcess(directory, inside=daemon.room.inside)
        image = f"{registry.domain}/me/big"
        daemon.docker("tag", "me/big", image)
        taken = seconds(lambda: _call(daemon, f"/images/{image}/push?tag=latest"))
        daemon.docker("rmi", image, "me/big")
        pulls[name].append(seconds(lambda: _call(daemon, f"/images/create?fromImage={image}&tag=latest")))
        daemon.docker("tag", image, "me/big")
        daemon.docker("rmi", image)
        registry.stop()
        return taken

    pushes = alternated(3, {name: lambda name=name: once(name) for name in daemons}, warm_up=0)
    what = f"{_LAYERS} layers of {_SIZE >> 20} MiB"
    return [
        Row(f"push of {what}", pushes, goals={"dockerd": 1}),
        Row(f"pull of {what}", pulls, goals={"dockerd": 1}),
    ]


def _call(daemon: Daemon, path: str, body: bytes = b"") -> None:
    headers = {"X-Registry-Auth": "e30=", "Content-Type": "application/x-tar"}
    answer = daemon.http.call("POST", path, body, headers)
    assert answer.status == 200, answer.body
    assert b'"error"' not in answer.body, answer.body[-500:]


def _context() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in _files():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _files() -> Iterator[tuple[str, bytes]]:
    copies = "".join(f"COPY {number} /{number}\n" for number in range(_LAYERS))
    yield "Dockerfile", f"FROM scratch\n{copies}".encode()
    source = random.Random(0)
    for number in range(_LAYERS):
        yield str(number), b"".join(source.randbytes(2048) + bytes(2048) for _ in range(_SIZE >> 12))
