"""The working directory of the steps and containers to come."""

from __future__ import annotations

import posixpath

from labkernel.engine.build.container_config import ConfigState
from labkernel.engine.build.rootfs import Rootfs
from labkernel.engine.errors import InvalidParameter


def make_workdir(rootfs: Rootfs, state: ConfigState) -> None:
    path = state.config["WorkingDir"]
    try:
        rootfs.make_directories(posixpath.normpath(path))
    except NotADirectoryError:
        raise InvalidParameter(
            f"Cannot mkdir: {path} is not a directory",
            hint="WORKDIR needs a folder, or a name not yet in use",
        ) from None
