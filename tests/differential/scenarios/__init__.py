"""What is done to both daemons: plain functions that take a `Recorder`, one file for each part of the API."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType

from tests.differential.recorder import Recorder
from tests.differential.scenarios import (
    build,
    create,
    files,
    health,
    images,
    life,
    links,
    networks,
    others,
    registries,
    streams,
    swarm,
    system,
    volumes,
)

SCENARIOS: dict[str, Callable[[Recorder], None]] = {
    f"{module.__name__.rpartition('.')[2]}.{name}": function
    for module in (
        *(system, create, life, health, links, streams, files, images, registries, build, networks, others),
        *(swarm, volumes),
    )
    for name, function in vars(module).items()
    if isinstance(function, FunctionType)
    and function.__module__ == module.__name__
    and not name.startswith("_")
    and name != "archive"
}
