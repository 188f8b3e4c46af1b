"""The engine as a process of its own: start it, find it, stop it. The one door in the seam.

The engine outlives whoever started it: a notebook's kernel may be restarted, its containers run on.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from labkernel.commands.errors import CommandError

START_TIMEOUT = 60.0
"""Seconds for an engine to answer: after a crash it may have much to clean up."""


@dataclass(frozen=True)
class EngineStatus:
    """`listening` are all its addresses, each with who may use it; `limits` what does not work on
    this machine, a sentence each.
    """

    running: bool
    host: str
    root: str
    pid: int = 0
    version: str = ""
    rootless: bool = False
    reaches_world: bool = False
    listening: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)


def default_root() -> Path:
    """Where the engine keeps its things: root's in /var/lib, a user's in the user's data directory."""
    if chosen := os.environ.get("LABKERNEL_ROOT"):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/var/lib/labkernel")
    from platformdirs import user_data_path

    return user_data_path("labkernel")


def host_for(root: Path | None = None) -> str:
    """The address of the engine that works on `root`: beside its things, but for the default's, in the run
    directory.
    """
    if root is not None and root.absolute() != default_root().absolute():
        return f"unix://{root.absolute() / 'engine.sock'}"
    if os.environ.get("LABKERNEL_ROOT"):
        return f"unix://{default_root().absolute() / 'engine.sock'}"
    if os.geteuid() == 0:
        return "unix:///run/labkernel/engine.sock"
    run_directory = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}")
    # A session without one of its own (a JupyterHub's container) keeps the socket with the data.
    directory = run_directory / "labkernel" if os.access(run_directory, os.W_OK) else default_root()
    return f"unix://{directory / 'engine.sock'}"


def serve(root: Path | None = None, host: str | None = None, *, options: Sequence[str] = ()) -> int:
    """Run the engine in this process until it is told to end; the answer is its exit status. `options` are
    the daemon's (`--registry-mirror=http://classroom:5000`)."""
    from labkernel.engine.daemon import main

    place = root or default_root()
    return main([str(place), host or host_for(root), *options])


def serve_registry(
    root: Path | None = None, host: str | None = None, *, ready: Callable[[str], object]
) -> None:
    """Run a registry in this process until it is told to end; `ready` gets its ADDRESS:PORT once it answers.

    Raises:
        CommandError: it cannot run there.
    """
    from labkernel.engine.distribution.server.process import DEFAULT_HOST, serve
    from labkernel.engine.errors import EngineError

    try:
        serve(root or default_registry_root(), host or DEFAULT_HOST, ready=ready)
    except EngineError as error:
        raise CommandError(error.message, hint=error.hint) from None


def default_registry_root() -> Path:
    """Where the registry keeps its things: beside the engine's."""
    root = default_root()
    return root.with_name(f"{root.name}-registry")


def start(root: Path | None = None, host: str | None = None, *, options: Sequence[str] = ()) -> str:
    """Start the engine unless it runs; returns its address once it answers. `options` as for `serve`.

    Raises:
        CommandError: it did not come up; the message holds what it said.
    """
    place, address = root or default_root(), host or host_for(root)
    if _answers(address):
        return address
    log = place / "engine.log"
    try:
        place.mkdir(mode=0o711, parents=True, exist_ok=True)
        with log.open("ab") as output:
            begun = output.tell()
            process = subprocess.Popen(
                [sys.executable, "-m", "labkernel.engine.daemon", str(place), address, *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,
            )
    except OSError as error:
        raise CommandError(
            f"the engine did not start: {error.filename}: {error.strerror}",
            hint="--root DIR chooses another place",
        ) from None
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if _answers(address):
            return address
        ended = process.poll()
        if ended is not None:
            # Another may have been started at the same moment and hold the lock.
            if _answers(address):
                return address
            said = log.read_bytes()[begun:].decode("utf-8", "replace").strip()
            lines = [line for line in said.splitlines() if line.strip()]
            hint = next(
                (line.removeprefix("hint: ") for line in lines if line.startswith("hint: ")), f"see {log}"
            )
            words = [line.removeprefix("labkernel: ") for line in lines if not line.startswith("hint: ")]
            if not words and shutil.disk_usage(place).free < 1 << 20:  # what it said found no room either
                words, hint = [f"{place}: No space left on device"], "free some space"
            raise CommandError(
                f"the engine did not start: {words[-1] if words else f'exit status {ended}'}", hint=hint
            )
        time.sleep(0.01)
    process.terminate()
    raise CommandError(f"the engine did not answer within {START_TIMEOUT:.0f} seconds", hint=f"see {log}")


def stop(root: Path | None = None, host: str | None = None, *, timeout: float = 30.0) -> bool:
    """End the engine and its containers; False when none was running.

    Raises:
        CommandError: it did not end in time, or belongs to somebody else.
    """
    address = host or host_for(root)
    pid = _pid(address)
    if not pid:
        return False
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not _is_engine(pid):
            raise CommandError(
                f"what listens on {address} (process {pid}) is another program", hint=f"ps -p {pid} shows it"
            )
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        if not select.select([descriptor], [], [], timeout)[0]:
            raise CommandError(
                f"the engine (process {pid}) did not end within {timeout:.0f} seconds", hint=f"kill -9 {pid}"
            )
    except PermissionError:
        raise CommandError(
            f"the engine (process {pid}) belongs to another user", hint="stop it as that user"
        ) from None
    finally:
        os.close(descriptor)
    return True


def status(root: Path | None = None, host: str | None = None) -> EngineStatus:
    """Whether the engine runs, where, and what it cannot do here."""
    place, address = root or default_root(), host or host_for(root)
    try:
        version = _get(address, "/version")
        described = _get(address, "/labkernel/status")
        return EngineStatus(
            running=True,
            host=address,
            root=described["Root"],
            pid=_pid(address),
            version=version["Version"],
            rootless=described["Rootless"],
            reaches_world=described["ReachesWorld"],
            listening=described.get("Listening", []),
            limits=described["Limits"],
        )
    except (OSError, HTTPException, ValueError, KeyError, TypeError):  # nobody there, or no engine of ours
        return EngineStatus(False, address, str(place))


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _get(address: str, path: str) -> Any:
    connection = _UnixConnection(address.removeprefix("unix://"))
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def _answers(address: str) -> bool:
    connection = _UnixConnection(address.removeprefix("unix://"))
    try:
        connection.request("GET", "/_ping")
        answer = connection.getresponse()
        return answer.status == 200 and (answer.getheader("Server") or "").startswith("labkernel/")
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _is_engine(pid: int) -> bool:
    """Whether the process is an engine of ours, even one that answers no more."""
    try:
        return b"labkernel" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _pid(address: str) -> int:
    """The process that listens on the socket (unix(7), SO_PEERCRED); 0 when none does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(address.removeprefix("unix://"))
        except OSError:
            return 0
        pid, _, _ = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return int(pid)
