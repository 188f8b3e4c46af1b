"""Start screens, find them from any process of the same user, end them.

Each has a directory: `state.json` says what it is, `Xauthority` holds its cookie, `Xvfb_screen0` its pixels.
Its keeper and its X server hold a lock on the directory, so one without a lock is left over, and is removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labkernel.display.authority import authority, cookie_in, new_cookie
from labkernel.display.errors import DisplayError
from labkernel.display.run_directory import run_directory

SOCKETS = Path("/tmp/.X11-unix")
"""Where X programs look for the socket of display N: XN. What containers mount."""
LEAST, MOST = 64, 8192
"""Pixels that a screen may be wide or high."""
START_TIMEOUT = 20.0
"""Seconds for Xvfb to answer."""


@dataclass(frozen=True)
class Screen:
    """A running screen. `width` and `height` in pixels; `pid` is Xvfb's; `owner` the process it ends with."""

    number: int
    width: int
    height: int
    pid: int
    owner: int
    directory: Path

    @property
    def name(self) -> str:
        """What DISPLAY holds for its programs."""
        return f":{self.number}"

    @property
    def id(self) -> str:
        """Never given twice, as numbers are."""
        return self.directory.name

    @property
    def authority(self) -> Path:
        """The file with the cookie: what XAUTHORITY holds for its programs."""
        return self.directory / "Xauthority"

    @property
    def frame_buffer(self) -> Path:
        """The file that is Xvfb's memory of its pixels."""
        return self.directory / "Xvfb_screen0"

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a program that is to show itself here."""
        return {"DISPLAY": self.name, "XAUTHORITY": str(self.authority)}

    @property
    def cookie(self) -> bytes:
        """Raises DisplayError when the screen has gone."""
        try:
            return cookie_in(self.authority.read_bytes())
        except (OSError, ValueError):
            raise self.gone() from None

    @property
    def is_running(self) -> bool:
        return _is_locked(self.directory)

    def gone(self) -> DisplayError:
        """The error that says that it is not there any more."""
        return DisplayError(f"the screen {self.name} has gone", hint="%display starts one")

    def stop(self, timeout: float = 5.0) -> None:
        """End it; its programs lose their connection. Returns when nothing of it is left."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                if self.is_running:
                    os.kill(self.pid, number)
            end = time.monotonic() + timeout
            while self.directory.exists() and time.monotonic() < end:
                time.sleep(0.01)
        if keeper := _keepers.pop(self.directory, None):
            keeper.wait()


def start(width: int = 800, height: int = 600) -> Screen:
    """Start a screen that ends with this process.

    Access control is on: who has neither the cookie nor a place in the access list is refused. Raises
    DisplayError.
    """
    if not (LEAST <= width <= MOST and LEAST <= height <= MOST):
        raise DisplayError(
            f"a screen of {width}x{height} cannot be made", hint=f"each from {LEAST} to {MOST} pixels"
        )
    if not all(map(importlib.util.find_spec, ("Xlib", "PIL"))):
        raise DisplayError(
            "the packages for screens are not installed here", hint="pip install 'labkernel[lab]'"
        )
    if not shutil.which("Xvfb"):
        raise DisplayError(
            "there is no Xvfb here, the X server that has its screen in memory",
            hint="as root: apt-get install xvfb   (Fedora: xorg-x11-server-Xvfb)",
        )
    _make_place_for_sockets()
    directory, lock = _make_directory()
    try:
        (directory / "Xauthority").touch(mode=0o600)
        cookie = new_cookie()
        (directory / "Xauthority").write_bytes(authority(cookie))
        number, pid = _start_keeper(directory, width, height, lock)
        screen = Screen(number, width, height, pid, os.getpid(), directory)
        _replace(screen.authority, authority(cookie, number))
        state = {name: value for name, value in asdict(screen).items() if name != "directory"}
        _replace(directory / "state.json", json.dumps(state).encode())
        return screen
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    finally:
        os.close(lock)  # the keeper holds it now


def screens() -> list[Screen]:
    """This user's running screens by number; what is left of others is removed. Raises DisplayError."""
    found = []
    for directory in run_directory().iterdir():
        if directory.name.startswith("."):  # in the making
            continue
        if not _is_locked(directory):
            shutil.rmtree(directory, ignore_errors=True)
            continue
        with contextlib.suppress(OSError, ValueError, TypeError):  # about to start, or to go
            state = json.loads((directory / "state.json").read_bytes())
            found.append(Screen(**state, directory=directory))
    return sorted(found, key=lambda screen: screen.number)


def find(number: int) -> Screen | None:
    """The running screen `number` of this user."""
    return next((screen for screen in screens() if screen.number == number), None)


def _make_place_for_sockets() -> None:
    """Xvfb tries one number after the other for ever where it cannot make its socket, so look before."""
    with contextlib.suppress(OSError):
        SOCKETS.mkdir()
        SOCKETS.chmod(
            0o1777
        )  # as it should be, whoever makes it: every user's sockets, none another's to remove
    try:
        found = SOCKETS.lstat()
    except OSError as error:
        raise DisplayError(f"{SOCKETS} cannot be made: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode) or not os.access(SOCKETS, os.W_OK | os.X_OK):
        raise DisplayError(
            f"no screen can be started: this user may not make a socket in {SOCKETS}",
            why="X programs look for a screen's socket there and nowhere else",
            hint=f"as root: mkdir -p {SOCKETS}; chmod 1777 {SOCKETS}",
        )


def _make_directory() -> tuple[Path, int]:
    """A new directory, and a descriptor that holds the lock on it."""
    hidden = Path(tempfile.mkdtemp(prefix=".", dir=run_directory()))
    lock = os.open(hidden, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    directory = hidden.with_name(hidden.name[1:])
    hidden.rename(directory)
    return directory, lock


_keepers: dict[Path, subprocess.Popen[bytes]] = {}
"""Those that this process has started."""


def _start_keeper(directory: Path, width: int, height: int, lock: int) -> tuple[int, int]:
    """The display's number and Xvfb's process id."""
    keeper = subprocess.Popen(
        [
            *[sys.executable, "-m", "labkernel.display.keeper"],
            *[str(os.getpid()), str(directory), str(width), str(height), str(lock)],
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=[lock],
        cwd="/",
        start_new_session=True,  # Jupyter ends a kernel's whole process group, and the keeper tidies up
    )
    answer = _read_line(keeper)
    if "number" not in answer:
        keeper.kill()
        keeper.wait()
        said = str(answer.get("error") or "it did not answer").strip().splitlines()
        raise DisplayError("Xvfb did not start", why=said[-1] if said else None)
    _keepers[directory] = keeper
    return answer["number"], answer["pid"]


def _read_line(keeper: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert keeper.stdout
    with keeper.stdout as stdout:
        if not select.select([stdout], [], [], START_TIMEOUT)[0]:
            return {}
        answer: dict[str, Any] = json.loads(stdout.readline() or "{}")
        return answer


def _is_locked(directory: Path) -> bool:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole: a reader sees all of it or what was there before."""
    new = path.with_name(f".{path.name}.new")
    new.touch(mode=0o600)
    new.write_bytes(content)
    new.replace(path)
