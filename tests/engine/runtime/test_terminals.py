"""Terminals of containers, and of what is executed in them; and process 1 as an init."""

from __future__ import annotations

import asyncio
import os
import signal
import termios

from labkernel.engine.linux import terminals
from labkernel.engine.runtime.client import Started
from labkernel.engine.runtime.spec import process_spec
from tests.engine.runtime.lab import Lab


async def _with_terminal(
    box: Lab, *args: str, size: tuple[int, int] | None = None, **options: object
) -> Started:
    bundle = box.bundle(*args, terminal=True, **options)
    return await box.launcher.run(bundle.name, bundle, terminal_size=size)


async def _read_terminal(started: Started) -> str:
    assert started.terminal is not None
    master = started.terminal

    def read() -> bytes:
        data = b""
        while True:
            try:
                part = os.read(master, 4096)
            except OSError:  # EIO: the last slave is closed
                return data
            data += part

    data = await asyncio.to_thread(read)
    await started.exited
    os.close(master)
    return data.decode().replace("\r\n", "\n")


def test_a_terminal(box: Lab) -> None:
    async def work() -> str:
        started = await _with_terminal(
            box, "sh", "-c", "tty; stty size; tty < /dev/console; cat", size=(33, 99)
        )
        assert started.terminal is not None
        seen = b""
        while b"console" not in seen:
            seen += await asyncio.to_thread(os.read, started.terminal, 100)
        os.write(started.terminal, b"echoed\n\x04")
        return seen.decode().replace("\r\n", "\n") + await _read_terminal(started)

    # The terminal echoes the line, then cat writes it.
    assert box.wait(work()) == "/dev/pts/0\n33 99\n/dev/console\nechoed\nechoed\n"


def test_a_terminal_is_the_controlling_one(box: Lab) -> None:
    async def work() -> str:
        started = await _with_terminal(
            box, "sh", "-c", "trap 'echo caught; exit' INT; echo ready; sleep 9 & wait"
        )
        assert started.terminal is not None
        seen = b""
        while b"ready" not in seen:
            seen += await asyncio.to_thread(os.read, started.terminal, 100)
        os.write(started.terminal, b"\x03")
        return await _read_terminal(started)

    assert "caught" in box.wait(work())


def test_a_terminal_can_be_resized(box: Lab) -> None:
    async def work() -> str:
        started = await _with_terminal(
            box, "sh", "-c", "trap 'stty size; exit' WINCH; echo ready; sleep 9 & wait", size=(24, 80)
        )
        assert started.terminal is not None
        seen = b""
        while b"ready" not in seen:
            seen += await asyncio.to_thread(os.read, started.terminal, 100)
        terminals.set_size(started.terminal, 50, 120)
        assert termios.tcgetwinsize(started.terminal) == (50, 120)
        return await _read_terminal(started)

    assert "50 120" in box.wait(work())


def test_a_terminal_of_an_exec(box: Lab, sleeper: str) -> None:
    async def work() -> str:
        process = process_spec(
            ["sh", "-c", "tty; id -u; stty size"], env=["PATH=/bin"], terminal=True, user="daemon"
        )
        started = await box.launcher.exec(sleeper, "tty-exec", process, terminal_size=(11, 22))
        return await _read_terminal(started)

    assert box.wait(work()) == "/dev/pts/0\n1\n11 22\n"


def test_init_reaps_orphans_and_passes_the_exit_code_on(box: Lab) -> None:
    ended = box.run(
        "sh",
        "-c",
        "echo $$; (sh -c 'sleep 0.1 & exit' &); sleep 0.5; ps -o stat= | grep -c Z; exit 4",
        init=True,
    )
    lines = ended.output.split()
    assert int(lines[0]) > 1
    assert lines[1] == "0"
    assert ended.code == 4


def test_init_passes_signals_on(box: Lab) -> None:
    async def work() -> int:
        bundle = box.bundle(
            "sh", "-c", "trap 'exit 6' TERM; touch /tmp/ready; while :; do sleep 0.05; done", init=True
        )
        started = await box.launcher.run(bundle.name, bundle)
        while not (bundle / "upper" / "tmp" / "ready").exists():
            await asyncio.sleep(0.01)
        box.launcher.kill(bundle.name, signal.SIGTERM)
        return await started.exited

    assert box.wait(work()) == 6


def test_init_with_a_terminal(box: Lab) -> None:
    async def work() -> str:
        started = await _with_terminal(box, "sh", "-c", "read x; echo got $x", init=True)
        assert started.terminal is not None
        os.write(started.terminal, b"line\n")
        return await _read_terminal(started)

    assert "got line" in box.wait(work())
