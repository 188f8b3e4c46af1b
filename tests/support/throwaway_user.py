"""Accounts that exist for one test session: made by useradd, removed with their processes and files."""

from __future__ import annotations

import itertools
import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.room import wait_until

_numbers = itertools.count()


@contextmanager
def throwaway_user(*, subordinate_ids: bool) -> Iterator[str]:
    """The name of a new account; with a range in /etc/subuid and /etc/subgid, or with its one uid only."""
    name = f"lktest{os.getpid()}n{next(_numbers)}"
    count = "65536" if subordinate_ids else "0"
    _run(
        "useradd",
        "--create-home",
        "--shell",
        "/bin/sh",
        "-K",
        f"SUB_UID_COUNT={count}",
        "-K",
        f"SUB_GID_COUNT={count}",
        name,
    )
    try:
        yield name
    finally:
        _end_processes(pwd.getpwnam(name).pw_uid)
        _run("userdel", "--remove", "--force", name)


def _end_processes(uid: int) -> None:
    for _ in wait_until(10):
        owned = [path for path in Path("/proc").glob("[0-9]*") if _owner(path) == uid]
        if not owned:
            return
        for path in owned:
            try:
                os.kill(int(path.name), signal.SIGKILL)
            except ProcessLookupError:
                continue
    raise TimeoutError(f"processes of uid {uid} do not end: {owned}")


def _owner(process: Path) -> int | None:
    try:
        return process.stat().st_uid
    except FileNotFoundError:
        return None


def _run(*args: str) -> None:
    ended = subprocess.run(args, capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(args)}: {ended.stderr}")
