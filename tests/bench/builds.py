"""Builds of small contexts, so that it is the builder that is measured, beside dockerd and buildah."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

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


def independent_stages(daemons: Daemons, place: Path) -> list[Row]:
    """Three stages that do not need each other, and a fourth that copies from them; nothing is cached."""
    samples = _built(daemons, place, 3, itertools.repeat({"Dockerfile": FOUR_STAGES}).__next__, nocache=True)
    return [Row("four-stage build with independent stages", samples, goals=_AHEAD)]


def many_steps(daemons: Daemons, place: Path) -> list[Row]:
    dockerfile = "FROM busybox\n" + "".join(f"RUN echo {number} > /{number}\n" for number in range(30))
    samples = _built(daemons, place, 2, itertools.repeat({"Dockerfile": dockerfile}).__next__, nocache=True)
    return [Row("30 RUN steps", samples, goals=_AHEAD)]


def one_file_change(daemons: Daemons, place: Path) -> list[Row]:
    """A step before the changed file comes from the cache, the copy and a step after it do not."""
    dockerfile = "FROM busybox\nRUN echo before > /before\nCOPY file other /app/\nRUN cp /app/file /after\n"
    changes = itertools.count()

    def files() -> dict[str, str]:
        return {"Dockerfile": dockerfile, "file": f"change {next(changes)}\n", "other": "text\n" * 1000}

    return [Row("rebuild, one file changed", _built(daemons, place, 5, files, nocache=False), goals=_AHEAD)]


def _built(
    daemons: Daemons, place: Path, rounds: int, files: Callable[[], Mapping[str, str]], *, nocache: bool
) -> dict[str, list[float]]:
    """Samples of a build of what `files` gives each time, by each daemon and by buildah."""
    buildah = Buildah(place)
    clients = {name: daemon.client(timeout=300).api for name, daemon in daemons.items()}

    def once(name: str) -> float:
        context = archive(dict(files()))

        def build() -> None:
            said = list(
                clients[name].build(
                    fileobj=io.BytesIO(context),
                    custom_context=True,
                    nocache=nocache,
                    rm=True,
                    tag="bench",
                    decode=True,
                )
            )
            assert any("Successfully tagged" in message.get("stream", "") for message in said), said[-1]

        return seconds(build)

    def once_by_buildah() -> float:
        buildah.context(files())
        return buildah.build(nocache=nocache)

    contestants = {name: lambda name=name: once(name) for name in daemons}
    samples = alternated(rounds, {**contestants, "buildah": once_by_buildah})
    buildah.close()
    for client in clients.values():
        client.close()
    return samples
