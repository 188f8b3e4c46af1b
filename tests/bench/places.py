"""Where the contestants run: a fresh file system that they share, and bare crun with a bundle of busybox."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.base_images import busybox_layer


@contextmanager
def fresh_file_system(size: str = "12G") -> Iterator[Path]:
    """A new ext4 mounted by loop: how fast files are made on an old disk depends on the folder."""
    with tempfile.TemporaryDirectory(prefix="lb") as name:
        image, place = Path(name, "image"), Path(name, "fs")
        place.mkdir()
        os.chmod(name, 0o755)
        subprocess.run(["truncate", "-s", size, image], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", image], check=True)
        subprocess.run(["mount", "-o", "loop,noatime", image, place], check=True)
        try:
            yield place
        finally:
            subprocess.run(["umount", place], check=True)


class Crun:
    """`crun run` of the bundle that `crun spec` describes, without our engine's or Docker's seccomp filter.

    It gets a mount namespace without the cgroup v2 tree that some machines have beside the v1 controllers,
    where crun refuses to work. The time is taken in there, so entering it costs nothing.
    """

    def __init__(self, place: Path) -> None:
        self._bundle = place / "bundle"
        root = self._bundle / "rootfs"
        root.mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(busybox_layer())) as tar:
            tar.extractall(root, filter="fully_trusted")
        subprocess.run(["crun", "spec"], cwd=self._bundle, check=True)
        config = self._bundle / "config.json"
        spec = json.loads(config.read_text())
        spec["process"] |= {"terminal": False, "args": ["true"]}
        # A process that may not raise its limits cannot take those that are written there.
        spec["process"].pop("rlimits", None)
        config.write_text(json.dumps(spec))
        self._loop = subprocess.Popen(
            ["unshare", "--mount", sys.executable, "-m", "tests.bench.places", str(self._bundle)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self) -> float:
        """Seconds that one `crun run` takes, from fork to exit."""
        assert self._loop.stdin
        assert self._loop.stdout
        self._loop.stdin.write("\n")
        self._loop.stdin.flush()
        return float(self._loop.stdout.readline())

    def close(self) -> None:
        assert self._loop.stdin
        self._loop.stdin.close()
        self._loop.wait(10)


def _crun_loop(bundle: str) -> None:
    """For each line on stdin run the bundle and print the seconds."""
    unified = Path("/sys/fs/cgroup/unified")
    if unified.is_mount():
        subprocess.run(["umount", unified], check=True)
    for number, _ in enumerate(sys.stdin):
        start = time.perf_counter()
        command = ["crun", "run", f"--bundle={bundle}", f"bench-{os.getpid()}-{number}"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    _crun_loop(sys.argv[1])
