"""Programs on a virtual screen: the machine's own X programs, and an image that has one of them."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from labkernel.display import Screen, Window, connect, windows
from tests.support.room import wait_until


@dataclass(frozen=True)
class Program:
    """A running X program."""

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def said(self) -> str:
        """What it has written to its stdout so far."""
        return self.output.read_text()


@contextmanager
def program(screen: Screen, *args: str) -> Iterator[Program]:
    """An X program on the screen, ended with the `with`."""
    with tempfile.NamedTemporaryFile() as output:
        process = subprocess.Popen(
            args, env={**os.environ, **screen.environment}, stdout=output, stderr=subprocess.DEVNULL
        )
        try:
            yield Program(process, Path(output.name))
        finally:
            process.kill()
            process.wait()


def windows_on(screen: Screen) -> list[Window]:
    """The windows that can be seen."""
    with connect(screen) as connection:
        return [window for window in windows(connection) if window.is_mapped]


def wait_for_window(screen: Screen, title: str, timeout: float = 10) -> Window:
    """The window of that title once it is seen and has found its place. Raises TimeoutError."""
    for _ in wait_until(timeout, 0.05):
        found = [window for window in windows_on(screen) if window.title == title and window.x > 0]
        if found:
            return found[0]
    raise TimeoutError(f"no window {title} on {screen.name}: {windows_on(screen)}")


def until(condition: Callable[[], Any], what: str, timeout: float = 10) -> None:
    """Wait until the condition is true. Raises TimeoutError."""
    for _ in wait_until(timeout, 0.05):
        if condition():
            return
    raise TimeoutError(what)


@cache
def clock_image() -> bytes:
    """A root file system as a tar: xclock as this machine has it, and what it needs. For `docker import`."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path in _with_libraries(["/usr/bin/xclock"]):
            # Merged or not, the machine's /lib: a name there is what programs ask for.
            tar.add(os.path.realpath(path), arcname=path.lstrip("/"))
        for path in sorted(Path("/usr/share/X11/locale").rglob("*")):
            if path.is_file() and path.parent.name in {"C", "locale"}:
                tar.add(path, arcname=str(path).lstrip("/"))
    return out.getvalue()


def _with_libraries(programs: Sequence[str]) -> list[str]:
    """The programs, and the paths that ldd names for them."""
    listed = subprocess.run(["ldd", *programs], check=True, capture_output=True, text=True).stdout
    return [*programs, *sorted(set(re.findall(r"(/\S+) \(0x", listed)))]
