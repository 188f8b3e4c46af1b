"""The outside world for an ordinary user's engine: pasta or slirp4netns, network stacks in a process.

Either puts an interface into the namespace that plays the host's part (see `outside`) and speaks, as an
ordinary program of the host, for everything sent there. It is a child of the engine and dies with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from labkernel.engine.linux import rtnetlink
from labkernel.engine.linux.mounts import MNT_DETACH, MS_BIND, mount, umount2
from labkernel.engine.network.namespaces import NamespaceThread

#: The addresses slirp4netns has always used: its gateway, its name server, and ours. pasta is told the same.
GATEWAY, NAMESERVER, ADDRESS = "10.0.2.2", "10.0.2.3", "10.0.2.100"
INTERFACE = "tap0"
START_SECONDS = 5.0
TUN_DEVICE = Path("/dev/net/tun")

#: Runs a command that the kernel kills when its parent, the engine, dies (PR_SET_PDEATHSIG). Python ignores
#: SIGPIPE, and some versions of pasta give up when they find it ignored.
_DIES_WITH_PARENT = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def pasta_command(program: str, netns: str, mtu: int) -> list[str]:
    """pasta(1): no ports forwarded either way, addresses of our choice, DNS at `NAMESERVER`."""
    return [
        *(
            program,
            "--foreground",
            "--quiet",
            "--config-net",
            "--no-netns-quit",
            "--netns",
            netns,
            "--ns-ifname",
            INTERFACE,
        ),
        *("--address", ADDRESS, "--netmask", "24", "--gateway", GATEWAY, "--mtu", str(mtu), "--ipv4-only"),
        *("--dns-forward", NAMESERVER, "--no-map-gw"),
        *("--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none"),
    ]


def slirp4netns_command(program: str, netns: str, mtu: int) -> list[str]:
    """slirp4netns(1). The host's loopback stays out of the containers' reach."""
    options = ["--netns-type=path", "--configure", f"--mtu={mtu}", "--disable-host-loopback"]
    return [program, *options, netns, INTERFACE]


COMMANDS = {"pasta": pasta_command, "slirp4netns": slirp4netns_command}


class UserModeNetwork:
    """The process, once started. `state_dir` is where its namespace gets a path."""

    def __init__(self, thread: NamespaceThread, mtu: int, state_dir: Path) -> None:
        self._thread = thread
        self._mtu = mtu
        self._place = state_dir / "outside.netns"
        self._process: asyncio.subprocess.Process | None = None
        self._failures: list[str] = []

    @property
    def nameservers(self) -> Sequence[str]:
        """The process asks on the host, where also a server on the loopback (systemd-resolved) answers."""
        return (NAMESERVER,) if self._process else ()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start what is installed, and wait until its interface is up. Failures are kept for `limits`."""
        self._failures.clear()
        try:
            await self._start_one()
        except OSError as error:
            self._failures.append(f"{error.filename}: {error.strerror}")

    async def _start_one(self) -> None:
        # Both drop the privilege to look into the engine's /proc before they open the namespace. The mount is
        # seen in the engine's own mount namespace only.
        self._place.touch()
        mount(self._thread.outside.path, str(self._place), flags=MS_BIND)
        try:
            for name, command in COMMANDS.items():
                program = shutil.which(name)
                if program and await self._run(name, command(program, str(self._place), self._mtu)):
                    return
        finally:
            umount2(str(self._place), MNT_DETACH)
            self._place.unlink()

    async def _run(self, name: str, command: list[str]) -> bool:
        shim = [sys.executable, "-I", "-S", "-c", _DIES_WITH_PARENT, str(os.getpid())]
        process = await asyncio.create_subprocess_exec(
            *shim, *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output = asyncio.ensure_future(_tail(process))
        deadline = time.monotonic() + START_SECONDS
        while process.returncode is None and time.monotonic() < deadline:
            routes = await self._thread.run(rtnetlink.routes, self._thread.outside.netlink)
            if any(route.destination.prefixlen == 0 for route in routes):
                self._process = process
                return True
            await asyncio.sleep(0.005)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        said = await output
        self._failures.append(f"{name}: {said or 'did not come up'}")
        return False

    def limits(self) -> list[str]:
        """Whether containers reach the outside world, as far as is known before they try."""
        found = []
        if not any(shutil.which(name) for name in COMMANDS):
            found.append(
                "containers reach each other but not the outside world: install pasta (Debian package"
                " passt) or slirp4netns, and restart the engine"
            )
        elif not os.access(TUN_DEVICE, os.R_OK | os.W_OK):
            found.append(
                f"containers reach each other but not the outside world: this user may not open {TUN_DEVICE};"
                f" as root: chmod 666 {TUN_DEVICE}"
            )
        elif self._process and self._process.returncode is not None:
            found.append(
                "containers reach each other but no longer the outside world: the process that carried their"
                " traffic has ended; restart the engine"
            )
        elif self._failures:
            found.append(
                f"containers reach each other but not the outside world: {'; '.join(self._failures)}"
            )
        first = _first_port()
        if first > 1:
            found.append(
                f"host ports below {first} cannot be published; as root:"
                " sysctl net.ipv4.ip_unprivileged_port_start=80 allows those from 80 on"
            )
        return found

    async def close(self) -> None:
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._process = None


def _first_port() -> int:
    """The lowest port that every user may bind (ip_unprivileged_port_start)."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except OSError:
        return 1024


async def _tail(process: asyncio.subprocess.Process) -> str:
    """Read a process's output to its end, so that it never waits for us; the last line is what it died of."""
    last = ""
    assert process.stdout
    async for line in process.stdout:
        last = line.decode(errors="replace").strip() or last
    return last
