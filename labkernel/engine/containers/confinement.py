"""What containers may not ask for where the engine's clients are not trusted: all that leads out of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkernel.engine.containers.mounts import MountPoint
from labkernel.engine.errors import Forbidden
from labkernel.engine.runtime.capabilities import DEFAULT_CAPABILITIES, container_capabilities


@dataclass(frozen=True)
class Confinement:
    """`places` are the directories whose files containers may be shown; of the machine's others, none."""

    places: Sequence[str]

    def check(self, host_config: Mapping[str, Any], points: Sequence[MountPoint]) -> None:
        """Raises Forbidden. A bind mount is from then on of the very place that was looked at."""
        self.check_privileged(host_config)
        if host_config["PidMode"] == "host":
            raise self._forbidden("the host's process namespace is")
        wanted = container_capabilities(host_config["CapAdd"] or (), host_config["CapDrop"] or ())
        if more := [name for name in wanted if name not in DEFAULT_CAPABILITIES]:
            raise self._forbidden(f"the capability {more[0]} is")
        for point in points:
            if point.type == "bind":
                point.source, point.follow = os.path.realpath(point.source), False
                if not any(Path(point.source).is_relative_to(place) for place in self.places):
                    raise self._forbidden(f"{point.source} in a container is")

    def check_privileged(self, asked: Mapping[str, Any]) -> None:
        """For a HostConfig, and for an exec. Raises Forbidden."""
        if asked["Privileged"]:
            raise self._forbidden("to be privileged is")

    def _forbidden(self, what: str) -> Forbidden:
        return Forbidden(
            f"{what} not permitted by this engine",
            hint="here containers have Docker's default rights, and of the machine's files only those below "
            + ", ".join(self.places),
        )
