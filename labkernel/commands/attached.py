"""A foreground session: a container's input and output joined to the console until one side ends it."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

from labkernel.commands.console import Console, Terminal
from labkernel.commands.errors import CommandError
from labkernel.commands.http import Demultiplexer, Hijacked
from labkernel.commands.results import Finished

DETACH_KEYS = "ctrl-p,ctrl-q"


class Capture:
    """Passes output to the console and keeps a copy of it, up to a limit."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.stdout = bytearray()
        self.stderr = bytearray()

    def take(self, stream: int, data: bytes) -> None:
        """`stream` is 2 for stderr, anything else is stdout."""
        kept = self.stderr if stream == 2 else self.stdout
        kept += data[: max(Finished.KEPT - len(kept), 0)]
        (self.console.write_error if stream == 2 else self.console.write)(data)


def key_sequence(text: str) -> bytes:
    """ "ctrl-p,ctrl-q" or "a,ctrl-[": single characters and ctrl- with a-z or one of @ [ \\ ] ^ _."""
    keys = b""
    for word in text.split(","):
        name = word.removeprefix("ctrl-").lower()
        if word.startswith("ctrl-") and len(name) == 1 and name in "abcdefghijklmnopqrstuvwxyz@[\\]^_":
            keys += bytes([ord(name.upper()) & 0x1F])
        elif len(word) == 1:
            keys += word.encode()
        else:
            raise CommandError(
                f'invalid detach keys ({text}): unknown character: "{word}"',
                hint='detach keys are a comma-separated list such as "ctrl-p,ctrl-q"',
                exit_code=125,
            )
    return keys


class DetachFilter:
    """Looks for the detach keys in what is typed; keys that may be their beginning are held back."""

    def __init__(self, keys: bytes) -> None:
        self.keys = keys
        self.held = b""

    def feed(self, typed: bytes) -> tuple[bytes, bool]:
        """(what to pass on, whether the keys came)."""
        passed = b""
        for index in range(len(typed)):
            key = typed[index : index + 1]
            if self.keys.startswith(self.held + key):
                self.held += key
                if self.held == self.keys:
                    return passed, True
            else:
                passed += self.held
                self.held = b""
                if self.keys.startswith(key):
                    self.held = key
                else:
                    passed += key
        return passed, False


class _Keyboard(threading.Thread):
    """Passes input to the container in a thread of its own, so that output never waits for input."""

    def __init__(self, source: int, stream: Hijacked, detach: DetachFilter | None) -> None:
        super().__init__(name="input to the container", daemon=True)
        self.source = source
        self.stream = stream
        self.detach = detach
        self.detached = False
        self._stop_reader, self._stop_writer = os.pipe()

    def run(self) -> None:
        with contextlib.suppress(OSError):  # the container has gone: its output says so, not its input
            while True:
                ready, _, _ = select.select([self.source, self._stop_reader], [], [])
                if self._stop_reader in ready:
                    return
                data = os.read(self.source, 65536)
                if not data:
                    self.stream.end_input()
                    return
                if self.detach:
                    data, self.detached = self.detach.feed(data)
                if data:
                    self.stream.send(data)
                if self.detached:
                    self.stream.interrupt()
                    return

    def stop(self) -> None:
        os.write(self._stop_writer, b"x")
        self.join()
        os.close(self._stop_reader)
        os.close(self._stop_writer)


@contextlib.contextmanager
def _raw(terminal: Terminal | None, resized: Callable[[int, int], None], *, keys: bool) -> Iterator[None]:
    if terminal is None:
        yield
        return

    def resize() -> None:
        with contextlib.suppress(Exception):  # a container that has just ended has no size: no reason to stop
            resized(*terminal.size())

    if keys:
        terminal.raw()
    terminal.on_resize(resize)
    try:
        for pause in (0.01, 0.02, 0.04, 0.08):  # an exec may not have its terminal yet
            try:
                resized(*terminal.size())
                break
            except Exception:
                time.sleep(pause)
        yield
    finally:
        terminal.on_resize(None)
        terminal.restore()


def join(
    stream: Hijacked,
    capture: Capture,
    *,
    tty: bool,
    stdin: BinaryIO | None,
    terminal: Terminal | None,
    resized: Callable[[int, int], None],
    detach_keys: str = DETACH_KEYS,
) -> bool:
    """Carry bytes both ways until the container's output ends. True when the user detached.

    `stdin` is None when no input is wanted. `resized` gets (rows, columns), at first and on every change.
    """
    demultiplexer = Demultiplexer()
    keyboard = None
    with _raw(terminal if tty else None, resized, keys=stdin is not None):
        if stdin is not None:
            watches = DetachFilter(key_sequence(detach_keys)) if tty else None
            source = terminal.fileno() if tty and terminal else stdin.fileno()
            keyboard = _Keyboard(source, stream, watches)
            keyboard.start()
        try:
            while data := stream.receive():
                for number, piece in [(1, data)] if tty else demultiplexer.feed(data):
                    capture.take(number, piece)
        finally:
            if keyboard:
                stream.interrupt()  # input that no one takes any more must not hold us
                keyboard.stop()
            stream.close()
    return bool(keyboard and keyboard.detached)
