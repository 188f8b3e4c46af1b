"""The process that is a room: started by `tests.support.room` in namespaces of its own.

It starts programs on request and, being their subreaper (prctl(2) PR_SET_CHILD_SUBREAPER), stays the ancestor
of all they leave behind, daemons included. Requests and answers are lines of JSON on stdin and stdout. When
stdin ends it kills every descendant and exits, so nothing outlives a test session, however that ends.
Standard library only: it runs before a throw-away user's Python can.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pwd
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
MS_BIND, MS_REC = 4096, 16384


class Room:
    def __init__(self) -> None:
        self.ended: dict[int, int] = {}

    def start(self, args: list[str], env: dict[str, str], log: str, user: str | None) -> int:
        with open(log, "ab") as output:
            child = subprocess.Popen(
                args, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **_identity(user)
            )
        child.returncode = 0  # Reaped below with all the others, not by Popen.
        return child.pid

    def poll(self, pid: int) -> int | None:
        """The exit code of a program started here, None while it runs; negative for a signal."""
        self.reap()
        return self.ended.get(pid)

    def left(self) -> list[tuple[int, str]]:
        """Every living descendant: process id and command line."""
        self.reap()
        return [(pid, _command_line(pid)) for pid in _descendants(os.getpid())]

    def end(self) -> None:
        for _ in range(200):
            self.reap()
            remaining = _descendants(os.getpid())
            if not remaining:
                return
            for pid in remaining:
                _kill(pid)
            time.sleep(0.02)

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.ended[pid] = os.waitstatus_to_exitcode(status)


def _identity(user: str | None) -> dict[str, Any]:
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    groups = os.getgrouplist(user, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups, "cwd": entry.pw_dir}


def _descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in task.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        for child in children:
            found += [child, *_descendants(child)]
    return found


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "?"


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def make_reachable(paths: list[str]) -> None:
    """Let every user reach `paths` in this mount namespace, whatever the modes of the folders around them.

    An interpreter below a folder only its owner may enter is no use to a throw-away user: an empty folder is
    mounted over the closed one, and only the path wanted is bound into it.
    """
    closed: dict[Path, list[tuple[Path, int]]] = {}
    for path in map(Path, paths):
        for around in reversed(path.parents):
            if not around.stat().st_mode & 0o001:
                closed.setdefault(around, []).append((path, os.open(path, os.O_PATH)))
                break
    for around, wanted in closed.items():
        _mount("tmpfs", around, "tmpfs", 0, "mode=755")
        for path, descriptor in wanted:
            path.mkdir(parents=True, exist_ok=True)
            _mount(f"/proc/self/fd/{descriptor}", path, None, MS_BIND | MS_REC, None)
            os.close(descriptor)


def _mount(source: str, target: Path, kind: str | None, flags: int, data: str | None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    encoded = [value if value is None else os.fsencode(value) for value in (source, str(target), kind, data)]
    if libc.mount(*encoded[:3], ctypes.c_ulong(flags), encoded[3]):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(target))


def main() -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is pytest's; it then closes our stdin.
    make_reachable(json.loads(sys.argv[1]))
    room = Room()
    answer = {"start": room.start, "poll": room.poll, "left": room.left, "end": room.end}
    print(json.dumps("ready"), flush=True)
    while True:
        if not select.select([sys.stdin], [], [], 1)[0]:
            room.reap()
            continue
        line = sys.stdin.readline()
        if not line:
            break
        call, arguments = json.loads(line)
        try:
            print(json.dumps(["answer", answer[call](*arguments)]), flush=True)
        except OSError as error:
            print(json.dumps(["error", str(error)]), flush=True)
    room.end()


if __name__ == "__main__":
    main()
