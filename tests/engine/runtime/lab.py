"""A launcher with a small root file system to start containers from, for tests that are not written as
coroutines.

Also a program: `python lab.py DIRECTORY` does what the JSON on its standard input asks as an ordinary user
and prints JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from labkernel.engine.runtime import rootless
from labkernel.engine.runtime.cgroups import Cgroups
from labkernel.engine.runtime.client import Launcher, Started, StartFailed
from labkernel.engine.runtime.spec import Overlay, Resources, SpecOptions, process_spec, runtime_spec

T = TypeVar("T")
PASSWD = (
    "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/sh\nmallory:x:9:9::/home:/bin/sh\n"
)
GROUP = "root:x:0:\ndaemon:x:1:\nadm:x:4:daemon\ntty:x:5:\n"


@dataclass
class Ended:
    """A process that has ended: its exit code, what it wrote, and what the launcher said of its start."""

    code: int
    output: str
    started: Started


class Lab:
    """One launcher, and as many containers as are asked for."""

    def __init__(self, directory: Path, detect: Callable[[Path], Cgroups] = Cgroups.detect) -> None:
        self.directory = directory
        self._runner = asyncio.Runner()
        self._numbers = itertools.count(1)
        self.layer = directory / "layers" / "1"
        make_layer(self.layer)
        self.launcher = self.wait(Launcher.start(directory / "state", detect(directory / "state")))

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(asyncio.wait_for(work, 60))

    def bundle(self, *args: str, layers: list[Path] | None = None, **options: Any) -> Path:
        """A bundle whose root is an overlay of the layer (or of `layers`, top first)."""
        bundle = self.directory / f"b{next(self._numbers)}"
        for name in ("rootfs", "upper", "work"):
            (bundle / name).mkdir(parents=True)
        options.setdefault("env", ["PATH=/bin:/sbin"])
        if "rootfs" not in options:
            lower = [str(path) for path in layers or [self.layer]]
            options["overlay"] = Overlay(lower, str(bundle / "upper"), str(bundle / "work"))
        spec = runtime_spec(SpecOptions(args=args, **options))
        (bundle / "config.json").write_text(json.dumps(spec))
        return bundle

    def start(self, *args: str, **options: Any) -> tuple[str, Started]:
        """Start a container with nothing on its streams; its id and what the launcher answers."""
        bundle = self.bundle(*args, **options)
        return bundle.name, self.wait(self.launcher.run(bundle.name, bundle))

    def run(self, *args: str, stdin: bytes = b"", **options: Any) -> Ended:
        """Run a container to its end; both output streams are one pipe."""
        bundle = self.bundle(*args, **options)
        return self.wait(self._collect(stdin, lambda i, o: self.launcher.run(bundle.name, bundle, i, o, o)))

    def exec(self, container: str, *args: str, stdin: bytes = b"", **options: Any) -> Ended:
        """Run one more process in a container to its end."""
        options.setdefault("env", ["PATH=/bin:/sbin"])
        process = process_spec(args, **options)
        name = f"exec{next(self._numbers)}"
        return self.wait(
            self._collect(stdin, lambda i, o: self.launcher.exec(container, name, process, i, o, o))
        )

    def fails(self, *args: str, **options: Any) -> StartFailed:
        """The failure of a container that must not start."""
        bundle = self.bundle(*args, **options)
        try:
            self.wait(self.launcher.run(bundle.name, bundle))
        except StartFailed as failure:
            return failure
        raise AssertionError("it started")

    def end(self, container: str, started: Started, signal: int = 9) -> int:
        """Signal a container and wait for its end."""

        async def work() -> int:
            self.launcher.kill(container, signal)
            return await started.exited

        return self.wait(work())

    async def _collect(self, stdin: bytes, start: Any) -> Ended:
        inside_in, ours_in = os.pipe()
        ours_out, inside_out = os.pipe()
        os.write(ours_in, stdin)
        os.close(ours_in)
        try:
            started = await start(inside_in, inside_out)
        except BaseException:
            os.close(ours_out)
            raise
        finally:
            os.close(inside_in)
            os.close(inside_out)
        output = await asyncio.to_thread(read_all, ours_out)
        return Ended(await started.exited, output, started)

    def close(self) -> None:
        self.wait(self.launcher.close())
        self._runner.close()


def make_layer(directory: Path) -> None:
    """A root file system of busybox alone, with links for its applets."""
    (directory / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", directory / "bin" / "busybox")
    listed = subprocess.run(
        [directory / "bin" / "busybox", "--list"], capture_output=True, text=True, check=True
    )
    for applet in listed.stdout.split():
        if applet != "busybox":
            (directory / "bin" / applet).symlink_to("busybox")
    (directory / "etc").mkdir()
    (directory / "etc" / "passwd").write_text(PASSWD)
    (directory / "etc" / "group").write_text(GROUP)
    (directory / "tmp").mkdir()
    (directory / "tmp").chmod(0o1777)


def read_all(fd: int) -> str:
    with os.fdopen(fd, "rb") as file:
        return file.read().decode()


@contextmanager
def lab(directory: Path) -> Iterator[Lab]:
    opened = Lab(directory)
    try:
        yield opened
    finally:
        opened.close()


def main() -> None:
    """As an ordinary user: enter a user namespace, run what is asked, say what came of it."""
    mapping = rootless.enter_user_namespace()
    requests = json.loads(Path(sys.argv[1], "requests.json").read_text())
    answers: dict[str, Any] = {
        "single": mapping.single,
        "mapping_limits": mapping.limits(),
        "ended": [],
    }
    with lab(Path(sys.argv[1], "lab")) as opened:
        answers["limits"] = opened.launcher.limits()
        for request in requests:
            if "resources" in request:
                request["resources"] = Resources(**request["resources"])
            try:
                if "exec" in request:
                    name, started = opened.start("sleep", "1000")
                    ended = opened.exec(name, *request["exec"])
                    opened.end(name, started)
                else:
                    ended = opened.run(*request.pop("args"), **request)
                answers["ended"].append([ended.code, ended.output, ended.started.warnings])
            except StartFailed as failure:
                answers["ended"].append([None, f"{failure.kind}: {failure.message} at {failure.step}", []])
    Path(sys.argv[1], "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
