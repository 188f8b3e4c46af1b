"""buildah as a contestant: no daemon, so its time includes the start of its process, as for its users."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.bench.measure import seconds
from tests.support.base_images import busybox_archive


class Buildah:
    """Builds as root with layers kept as cache, stages side by side, overlayfs, and runc for RUN, as crun
    refuses to work where a cgroup v2 tree is beside the v1 controllers. `place` is on the file system of the
    others.
    """

    def __init__(self, place: Path) -> None:
        self._place = Path(tempfile.mkdtemp(prefix="buildah", dir=place))
        (self._place / "context").mkdir()
        (self._place / "busybox.tar").write_bytes(busybox_archive())
        self._run("pull", f"docker-archive:{self._place}/busybox.tar")

    def context(self, files: Mapping[str, str]) -> None:
        """Make these files the build context, or change them in it."""
        for name, text in files.items():
            (self._place / "context" / name).write_text(text)

    def unpack(self, tar: Path) -> None:
        """Make what is in a tar the build context."""
        subprocess.run(["tar", "-xf", tar, "-C", self._place / "context"], check=True)

    def build(self, *, nocache: bool = False) -> float:
        """Seconds that a build of the context takes."""
        command = ["--layers", "--pull-never", "--isolation=oci", "--runtime=runc", "--tag=bench"]
        command += [f"--jobs={os.cpu_count()}", *(["--no-cache"] if nocache else [])]
        return seconds(lambda: self._run("build", *command, str(self._place / "context")))

    def close(self) -> None:
        self._run("rmi", "--all", "--force")

    def _run(self, *args: str) -> None:
        storage = (f"--root={self._place}/root", f"--runroot={self._place}/run", "--storage-driver=overlay")
        subprocess.run(["buildah", *storage, *args], check=True, capture_output=True)
