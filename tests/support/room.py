"""A room: network and mount namespaces of its own for one engine, with a way out to the network.

Engines under test meet neither each other nor the machine's own: two dockerds share no bridge, an interface
or a mount that is left behind is seen at once, and all of it goes when the room is closed.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support import room_process
from tests.support.source_tree import REPOSITORY


class Room:
    """Opened by the constructor, closed by `close()`.

    `user` names an account the programs run as; our Python and this repository are made reachable for it.
    """

    def __init__(self, user: str | None = None) -> None:
        self.user = user
        needed = sorted({sys.prefix, sys.base_prefix, str(REPOSITORY)}) if user else []
        self._process = subprocess.Popen(
            [
                *["unshare", "--mount", "--net", "--propagation=private"],
                *[sys.executable, "-I", "-S", room_process.__file__, json.dumps(needed)],
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()
        self.pid = self._process.pid
        self._way_out = _WayOut(self)

    def _read(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the room's process ended")
        return json.loads(line)

    def _call(self, name: str, *arguments: Any) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        self._process.stdin.flush()
        kind, value = self._read()
        if kind == "error":
            raise RuntimeError(value)
        return value

    @property
    def inside(self) -> list[str]:
        """Words before a command that make it run in the room's network, where ports are published."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net"]

    def run(self, args: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end in the room's network, as root, its output captured."""
        options = {
            "text": True,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "timeout": 120,
            **options,
        }
        return subprocess.run([*self.inside, *args], check=False, **options)

    def start(self, args: Sequence[str], *, env: dict[str, str], log: Path) -> int:
        """Start a program in the room, as the room's user; return its process id."""
        pid: int = self._call("start", list(args), env, str(log), self.user)
        return pid

    def poll(self, pid: int) -> int | None:
        """Exit code of a program started here (negative: a signal), None while it runs."""
        code: int | None = self._call("poll", pid)
        return code

    def wait(self, pid: int, timeout: float) -> int:
        """Exit code of a program started here. Raises TimeoutError after `timeout` seconds."""
        for _ in wait_until(timeout):
            code = self.poll(pid)
            if code is not None:
                return code
        raise TimeoutError(f"process {pid} still runs after {timeout} s")

    def left(self) -> list[tuple[int, str]]:
        """Living processes that were started in the room, or by those: (process id, command line)."""
        return [(pid, command) for pid, command in self._call("left")]

    def close(self) -> None:
        """Kill what still runs; the namespaces and all they hold go with the last process."""
        self._call("end")
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)
        self._way_out.close()


class _WayOut:
    """A veth pair from the room to the machine, and NAT for it: what containers need to reach the outside."""

    def __init__(self, room: Room) -> None:
        for number in itertools.count():
            self.name = f"lktest{number}"
            made = subprocess.run(
                f"ip link add {self.name} type veth peer name outside netns {room.pid}".split(),
                capture_output=True,
                text=True,
            )
            if made.returncode == 0:
                break
            if "File exists" not in made.stderr:
                raise RuntimeError(made.stderr)
        # 10.213.0.0/16 in blocks of four addresses: the machine's end is the first, the room's the second.
        high, low = divmod(number * 4, 256)
        machine, inside = f"10.213.{high}.{low + 1}", f"10.213.{high}.{low + 2}"
        _run(["ip", "address", "add", f"{machine}/30", "dev", self.name])
        _run(["ip", "link", "set", self.name, "up"])
        for line in (
            "ip link set lo up",
            f"ip address add {inside}/30 dev outside",
            "ip link set outside up",
            f"ip route add default via {machine}",
        ):
            _run([*room.inside, *line.split()])
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")
        _run(
            ["nft", "-f", "-"],
            input=f"table ip {self.name} {{\nchain out {{\ntype nat hook postrouting priority srcnat;\n"
            f'ip saddr {inside} oifname != "{self.name}" masquerade;\n}}\n}}\n',
        )

    def close(self) -> None:
        # The pair goes with the room's namespace, which the kernel takes apart in its own time.
        subprocess.run(["ip", "link", "delete", self.name], capture_output=True)
        _run(["nft", "delete", "table", "ip", self.name])


def wait_until(timeout: float, interval: float = 0.02) -> Any:
    """Yield at once and then every `interval` seconds until `timeout` seconds have gone."""
    end = time.monotonic() + timeout
    while True:
        yield
        if time.monotonic() > end:
            return
        time.sleep(interval)


def _run(args: list[str], *, input: str | None = None) -> None:
    subprocess.run(args, input=input, check=True, text=True, stdout=subprocess.DEVNULL, env=os.environ)
