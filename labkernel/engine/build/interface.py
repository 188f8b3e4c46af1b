"""What a build is asked for, and what the builder needs from above: containers for RUN, images for FROM."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from labkernel.engine.errors import EngineError
from labkernel.engine.image.images import Image

#: Takes the API's JSON messages of a build or a pull: `{"stream": "Step 1/3 : FROM golang"}`.
Output = Callable[[dict[str, Any]], None]

#: Awaited between pieces of a command's output: done once whoever reads the output has caught up.
Room = Callable[[], Awaitable[None]]


async def unlimited() -> None:
    """A `Room` that never fills."""


@dataclass(frozen=True)
class BuildOptions:
    """The options of `POST /build`, defaults as there. `host_config` has HostConfig's names and units.

    `build_args` with None are given without a value. With `cache_from` only the images of these names, and
    what they were built on, are taken for steps already done. `host_config` is handed on to RUN steps:
    NetworkMode, Memory, CpuShares, ShmSize, ExtraHosts, Ulimits and so on. `auths` are logins for FROM:
    AuthConfig objects by the registries' addresses. `explain` asks for `aux` messages that say why steps
    were run again and which bytes are wasted. `secrets` are contents by their id, `ssh` the paths of SSH
    agents' sockets, for RUN --mount. Docker's classic API has none of these three.
    """

    dockerfile: str = "Dockerfile"
    tags: Sequence[str] = ()
    build_args: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    platform: str = ""
    no_cache: bool = False
    cache_from: Sequence[str] = ()
    pull: bool = False
    quiet: bool = False
    remove: bool = True
    force_remove: bool = False
    host_config: Mapping[str, Any] = field(default_factory=dict)
    auths: Mapping[str, Any] = field(default_factory=dict)
    squash: bool = False
    explain: bool = False
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    ssh: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FileMount:
    """What a RUN step sees at `destination`: a file or directory of the engine's, or (type "tmpfs") files in
    memory."""

    source: Path
    destination: str
    type: str = "bind"
    options: Sequence[str] = ("ro",)


@dataclass(frozen=True)
class RunStep:
    """A command to run on an image's layers (directories, top first, as overlayfs's lowerdir wants them).

    `upper` and `work` are empty directories on the layers' file system. What the runner itself puts into the
    root file system (mount points, /etc/hosts) must not be in `upper` afterwards: it becomes the next layer.
    With `is_private` there are secrets in `env`: it must not be written to a disk.
    """

    container_id: str
    image: Image | None
    layers: Sequence[Path]
    upper: Path
    work: Path
    args: Sequence[str]
    env: Sequence[str]
    cwd: str
    user: str
    hostname: str
    host_config: Mapping[str, Any]
    mounts: Sequence[FileMount] = ()
    is_private: bool = False


class StepRunner(Protocol):
    async def run(
        self, step: RunStep, stdout: Callable[[bytes], None], stderr: Callable[[bytes], None], room: Room
    ) -> int:
        """Run the command to its end; the answer is its exit code. While there is no `room` for its output
        it waits, as it would for a terminal. Cancelled, it ends the container first.

        Raises EngineError if the command cannot be started.
        """


class BaseImages(Protocol):
    async def find(
        self,
        reference: str,
        output: Output,
        *,
        platform: str = "",
        pull: bool = False,
        auths: Mapping[str, Any] | None = None,
    ) -> Image:
        """The image that FROM or `COPY --from` names: stored, from a registry or the catalog.

        Raises NotFound.
        """


class RunFailed(EngineError):
    """A RUN step whose command did not end with 0; `output` is the last of what it printed."""

    def __init__(self, args: Sequence[str], code: int, output: str) -> None:
        super().__init__(f"The command '{' '.join(args)}' returned a non-zero code: {code}")
        self.code = code
        self.output = output


def error_message(error: EngineError) -> dict[str, Any]:
    """The message that ends a build's stream when it fails.

    The hint and what else we say go along in `errorDetail`, where Docker's clients pass over them.
    """
    detail: dict[str, Any] = {**error.details, "message": error.message}
    if isinstance(error, RunFailed):
        detail["code"] = error.code
    if error.hint:
        detail["hint"] = error.hint
    return {"errorDetail": detail, "error": error.message}
