"""Files that all processes of a test run share: what takes long to make is made once."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_VARIABLE = "LABKERNEL_TESTS_SHARED"

FILES_MADE_ONCE = frozenset({"images_archive"})
"""Fixtures that make such a file and take long for it."""


def begin() -> None:
    """Make the directory, in the run's first process; those that it starts inherit its name."""
    if _VARIABLE not in os.environ:
        os.environ[_VARIABLE] = tempfile.mkdtemp(prefix="labkernel-tests-")


def end() -> None:
    """Remove it: to be called by the first process, once the others are gone."""
    shutil.rmtree(os.environ.pop(_VARIABLE))


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Held by one process of the run at a time."""
    with Path(os.environ[_VARIABLE], f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def shared_file(name: str, make: Callable[[Path], None]) -> Path:
    """The file of that name; the first process that asks makes it, and the others wait for that."""
    path = Path(os.environ[_VARIABLE], name)
    with exclusive(name):
        if not path.exists():
            unfinished = path.with_name(f"{name}.part")
            make(unfinished)
            unfinished.replace(path)
    return path
