"""Builds beside dockerd and buildah; daemons get a packed context, so that no client is measured."""

from __future__ import annotations

import io
import itertools
import random
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from tests.bench.buildah import Buildah
from tests.bench.measure import Row, alternated, seconds
from tests.differential.scenarios.files import archive
from tests.support.daemons import Daemon

Daemons = dict[str, Daemon]
_AHEAD = {"dockerd": 1.0, "buildah": 1.0}

# Each stage computes for a while, as a compiler does: it keeps one processor busy.
_WORK = "RUN i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo $i > /made\n"
_STAGES = "".join(f"FROM busybox AS stage{number}\n{_WORK}" for number in range(3))
FOUR_STAGES = f"{_STAGES}FROM busybox\n" + "".join(
    f"COPY --from=stage{number} /made /made{number}\n" for number in range(3)
)


def cached_rebuild(daemons: Daemons, place: Path) -> list[Row]:
    steps = "".join(f"RUN echo {number} > /{number}\nCOPY file /file{number}\n" for number in range(5))
    files = {"Dockerfile": f"FROM busybox\n{steps}", "file": "text\n" * 1000}
    samples = _built(daemons, place, 10, itertools.repeat(files).__next__)
    return [Row("rebuild, nothing changed, 10 steps", samples, goals=_AHEAD | {"dockerd": 5})]


def copy_tree(daemons: Daemons, place: Path) -> list[Row]:
    """COPY of 250 MB in 12,000 files, most of them small."""
    context = place / "context.tar"
    _write_tree(context, files=12_000, folders=1_390, total=250_000_000)
    buildah = Buildah(place)
    buildah.unpack(context)

    def once(name: str, *, nocache: bool) -> float:
        with context.open("rb") as body:
            return _build(daemons[name], body, nocache=nocache)

    def all_of_them(rounds: int, *, nocache: bool) -> dict[str, list[float]]:
        contestants = {name: lambda name=name: once(name, nocache=nocache) for name in daemons}
        contestants["buildah"] = lambda: buildah.build(nocache=nocache)
        return alternated(rounds, contestants, warm_up=0)

    first, again = all_of_them(2, nocache=True), all_of_them(3, nocache=False)
    buildah.close()
    context.unlink()
    return [
        Row("COPY of 250 MB in 12,000 files", first, goals=_AHEAD | {"dockerd": 5}),
        Row("the same, cached", again, goals=_AHEAD | {"dockerd": 5}),
    ]


def independent_stages(daemons: Daemons, place: Path) -> list[Row]:
    """Three stages that do not need each other, and a fourth that copies from them; nothing is cached."""
    samples = _built(daemons, place, 3, itertools.repeat({"Dockerfile": FOUR_STAGES}).__next__, nocache=True)
    return [Row("four-stage build with independent stages", samples, goals=_AHEAD)]


def many_steps(daemons: Daemons, place: Path) -> list[Row]:
    dockerfile = "FROM busybox\n" + "".join(f"RUN echo {number} > /{number}\n" for number in range(30))
    samples = _built(daemons, place, 2, itertools.repeat({"Dockerfile": dockerfile}).__next__, nocache=True)
    return [Row("30 RUN steps", samples, goals=_AHEAD | {"dockerd": 5})]


def one_file_change(daemons: Daemons, place: Path) -> list[Row]:
    """A step before the changed file comes from the cache, the copy and a step after it do not."""
    dockerfile = "FROM busybox\nRUN echo before > /before\nCOPY file other /app/\nRUN cp /app/file /after\n"
    changes = itertools.count()

    def files() -> dict[str, str]:
        return {"Dockerfile": dockerfile, "file": f"change {next(changes)}\n", "other": "text\n" * 1000}

    return [Row("rebuild, one file changed", _built(daemons, place, 5, files), goals=_AHEAD)]


def _built(
    daemons: Daemons,
    place: Path,
    rounds: int,
    files: Callable[[], Mapping[str, str]],
    *,
    nocache: bool = False,
) -> dict[str, list[float]]:
    """Samples of a build of what `files` gives each time, by each daemon and by buildah."""
    buildah = Buildah(place)

    def once(daemon: Daemon) -> float:
        return _build(daemon, io.BytesIO(archive(dict(files()))), nocache=nocache)

    def once_by_buildah() -> float:
        buildah.context(files())
        return buildah.build(nocache=nocache)

    contestants = {name: lambda d=daemon: once(d) for name, daemon in daemons.items()}
    samples = alternated(rounds, {**contestants, "buildah": once_by_buildah})
    buildah.close()
    return samples


def _build(daemon: Daemon, context: BinaryIO, *, nocache: bool) -> float:
    client = daemon.client(timeout=300).api

    def build() -> None:
        messages = client.build(
            fileobj=context, custom_context=True, nocache=nocache, rm=True, tag="bench", decode=True
        )
        last = [message for message in messages if "stream" in message or "error" in message][-1]
        assert "Successfully tagged" in last.get("stream", ""), last

    taken = seconds(build)
    client.close()
    return taken


def _write_tree(path: Path, *, files: int, folders: int, total: int) -> None:
    """A context whose Dockerfile copies it: a tree of random files, most of them small."""
    random.seed(0)
    sizes = [random.paretovariate(1.2) for _ in range(files)]
    scale = total / sum(sizes)
    names = [f"tree/{number % 37}/{number}" for number in range(folders)]
    with tarfile.open(path, "w") as tar:

        def add(name: str, data: bytes | None) -> None:
            member = tarfile.TarInfo(name)
            member.type, member.mode = (tarfile.DIRTYPE, 0o755) if data is None else (tarfile.REGTYPE, 0o644)
            member.size = len(data or b"")
            tar.addfile(member, io.BytesIO(data or b""))

        add("Dockerfile", b"FROM busybox\nCOPY tree /tree\n")
        for name in ["tree", *(f"tree/{number}" for number in range(37)), *names]:
            add(name, None)
        for number, size in enumerate(sizes):
            add(f"{names[number % folders]}/file{number}", random.randbytes(int(size * scale)))
