"""The process that keeps a screen: starts Xvfb, finds places for new windows, and ends Xvfb with its owner.

`python -m labkernel.display.keeper OWNER DIRECTORY WIDTH HEIGHT LOCK`. It writes one line of JSON to its
stdout, {"number", "pid"} or {"error"}, and ends when Xvfb or the owner does; then nothing of the screen is
left. LOCK is the descriptor that holds the lock on the directory.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def main(owner: int, directory: Path, width: int, height: int, lock: int) -> None:
    """Keep one screen from its start to its end."""
    try:
        owner_ends = os.pidfd_open(owner)
    except ProcessLookupError:
        return
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit())
    reading, writing = os.pipe()
    log = directory / "log"
    with log.open("wb") as output:
        xvfb = subprocess.Popen(
            command(directory, width, height, writing),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[writing, lock],
            preexec_fn=_end_with_parent,
        )
    os.close(writing)
    try:
        from labkernel.display.desk import Desk  # loaded while Xvfb starts

        line = _read_line(reading)
        if not line:
            _answer({"error": log.read_text(errors="replace")[-1000:]})
            return
        desk = Desk(int(line), directory / "Xauthority")
        _answer({"number": int(line), "pid": xvfb.pid})
        # In a thread: a program may hold the server for itself, and the owner's end is seen all the same.
        threading.Thread(target=desk.keep, daemon=True).start()
        select.select([owner_ends, os.pidfd_open(xvfb.pid)], [], [])
    finally:
        _end(xvfb)
        shutil.rmtree(directory, ignore_errors=True)


def command(directory: Path, width: int, height: int, tell: int) -> list[str]:
    """Xvfb's command line; it writes the display's number to the descriptor `tell`."""
    return [
        *["Xvfb", "-displayfd", str(tell), "-screen", "0", f"{width}x{height}x24"],
        *["-auth", str(directory / "Xauthority"), "-nolisten", "tcp", "-fbdir", str(directory)],
        # It stays as it is when its last program ends, and when nobody touches it.
        *["-noreset", "-s", "0"],
        # The browser has a pointer of its own, and repeats keys.
        *["-nocursor", "-r"],
        # OpenGL takes 50 MiB and 60 ms.
        *["-extension", "GLX"],
    ]


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _read_line(reading: int) -> bytes:
    """Up to the newline, which Xvfb writes apart: it dies when that finds no reader. Empty when it ended."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(reading, 64)
        if not piece:
            return b""
        line += piece
    return line


def _answer(answer: dict[str, object]) -> None:
    print(json.dumps(answer), flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end(xvfb: subprocess.Popen[bytes]) -> None:
    xvfb.terminate()
    try:
        xvfb.wait(5)
    except subprocess.TimeoutExpired:
        xvfb.kill()
        xvfb.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:6]))
