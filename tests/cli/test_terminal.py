"""Interactive containers on a real terminal: a pseudo-terminal that the test types into."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import LABKERNEL
from tests.support.daemons import Daemon


class Typist:
    """A terminal with a program on it."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.master, slave = pty.openpty()
        self.resize(24, 80)
        self.attributes = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            command,
            env={**environment, "TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.seen = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def expect(self, pattern: bytes, seconds: float = 60) -> bytes:
        """Everything up to the match of `pattern`; what follows stays for the next call."""
        deadline = time.monotonic() + seconds
        while not (match := re.search(pattern, self.seen)):
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.master], [], [], max(left, 0))
            assert ready, f"{pattern!r} did not come; on the screen: {self.seen!r}"
            self.seen += os.read(self.master, 65536)
        before, self.seen = self.seen[: match.end()], self.seen[match.end() :]
        return before

    def has(self, pattern: bytes, seconds: float) -> bool:
        """Whether the pattern comes within that time."""
        try:
            self.expect(pattern, seconds)
        except AssertionError:
            return False
        return True

    def end(self, seconds: float = 60) -> int:
        return self.process.wait(seconds)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


Open = Callable[..., Typist]


@pytest.fixture
def terminal(docker_host: Daemon) -> Iterator[Open]:
    """Opens `labkernel docker ARGS` on a terminal of 24 rows and 80 columns."""
    opened: list[Typist] = []

    def open_terminal(*argv: str) -> Typist:
        opened.append(Typist([*LABKERNEL, "docker", *argv], docker_host.environment()))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()


def test_a_shell_in_a_new_container(terminal: Open) -> None:
    shell = terminal("run", "-it", "--rm", "busybox", "sh")
    shell.expect(rb"# ")
    shell.type(b"stty size; tty\r")
    screen = shell.expect(rb"/dev/(pts/0|console)\r\n")
    assert b"24 80\r\n" in screen
    shell.type(b"exit 5\r")
    assert shell.end() == 5
    assert termios.tcgetattr(shell.slave) == shell.attributes


def test_the_container_sees_a_new_size(terminal: Open) -> None:
    shell = terminal("run", "-it", "--rm", "busybox", "sh")
    shell.expect(rb"# ")
    shell.resize(40, 132)
    os.kill(shell.process.pid, signal.SIGWINCH)
    for _ in range(50):
        shell.type(b"stty size\r")
        if b"40 132" in shell.expect(rb"\d+ \d+\r\n"):
            break
        time.sleep(0.1)
    else:
        pytest.fail("the size did not change")
    shell.type(b"exit\r")
    assert shell.end() == 0


def test_keys_that_would_be_signals_go_to_the_container(terminal: Open) -> None:
    shell = terminal("run", "-it", "--rm", "busybox", "sh")
    shell.expect(rb"# ")
    shell.type(b"sleep 1000\r")
    shell.expect(rb"sleep 1000\r\n")
    time.sleep(0.3)
    shell.type(b"\x03")
    shell.expect(rb"# ")
    shell.type(b"echo code $?\r")
    shell.expect(rb"code 130\r\n.*# ")  # before its prompt, the shell does not read keys one by one
    shell.type(b"\x04")
    shell.end()


def test_the_detach_keys_leave_the_container_running(terminal: Open, docker_host: Daemon) -> None:
    shell = terminal("run", "-it", "--name", "kept", "busybox", "sh")
    shell.expect(rb"# ")
    shell.type(b"cd /tmp\r")
    shell.expect(rb"# ")
    shell.type(b"\x10\x11")
    assert shell.end() == 0
    assert termios.tcgetattr(shell.slave) == shell.attributes
    assert docker_host.docker("ps", "--format", "{{.Names}}").stdout == "kept\n"
    again = terminal("attach", "kept")
    for _ in range(100):  # what is typed before the client has the terminal to itself may be thrown away
        again.type(b"pwd\r")
        if again.has(rb"/tmp\r\n", 0.5):
            break
    else:
        pytest.fail("the container does not answer")
    again.type(b"exit 4\r")
    assert again.end() == 4


def test_exec_on_a_terminal(terminal: Open, docker_host: Daemon) -> None:
    docker_host.docker("run", "-d", "--name", "web", "busybox", "sleep", "1000")
    shell = terminal("exec", "-it", "web", "sh")
    shell.expect(rb"# ")
    shell.type(b"stty size; exit 6\r")
    shell.expect(rb"24 80\r\n")
    assert shell.end() == 6


def test_a_terminated_client_puts_the_terminal_right(terminal: Open) -> None:
    shell = terminal("run", "-it", "--rm", "busybox", "sh")
    shell.expect(rb"# ")
    assert termios.tcgetattr(shell.slave) != shell.attributes
    shell.process.terminate()
    assert shell.end() == 128 + signal.SIGTERM
    assert termios.tcgetattr(shell.slave) == shell.attributes


def test_progress_is_redrawn_in_place(terminal: Open, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\n")
    with (tmp_path / "big").open("wb") as file:
        file.truncate(30_000_000)
    build = terminal("build", "-t", "me/x", str(tmp_path))
    screen = build.expect(rb"Successfully tagged me/x:latest\r\n", 60)
    assert build.end(60) == 0
    assert screen.count(b"Sending build context") > 1
    assert b"\x1b[1A\r\x1b[2KSending build context" in screen
