"""The terminal that the command line runs on, as the commands see it."""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable
from typing import BinaryIO

from labkernel.commands import Terminal


class RealTerminal:
    """Standard input, when it is a terminal: raw mode for interactive containers, and its size."""

    def __init__(self) -> None:
        self._descriptor = sys.stdin.fileno()
        self._saved: list[object] | None = None

    def size(self) -> tuple[int, int]:
        columns, rows = os.get_terminal_size(self._descriptor)
        return rows, columns

    def raw(self) -> None:
        self._saved = termios.tcgetattr(self._descriptor)
        tty.setraw(self._descriptor)

    def restore(self) -> None:
        if self._saved is not None:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._saved)  # type: ignore[arg-type]
            self._saved = None

    def fileno(self) -> int:
        return self._descriptor

    def on_resize(self, changed: Callable[[], None] | None) -> None:
        if threading.current_thread() is threading.main_thread():
            handler = signal.SIG_DFL if changed is None else (lambda number, frame: changed())
            signal.signal(signal.SIGWINCH, handler)


class TerminalConsole:
    """Writes to the process's own output. Progress goes to standard error: in place on a terminal, else line
    by line.
    """

    def __init__(self) -> None:
        self.stdin: BinaryIO | None = sys.stdin.buffer
        self.terminal: Terminal | None = (
            RealTerminal() if sys.stdin.isatty() and sys.stdout.isatty() else None
        )
        self._lines: dict[str, str] = {}
        self._in_place = sys.stderr.isatty()

    def write(self, data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def write_error(self, data: bytes) -> None:
        sys.stderr.buffer.write(data)
        sys.stderr.buffer.flush()

    def note(self, data: bytes) -> None:
        self.write_error(data)  # as the docker client: standard output is the container's

    def progress(self, key: str, text: str) -> None:
        if not self._in_place:
            stage = text.partition(" [")[0]  # without its bar
            if self._lines.get(key) != stage:
                self._lines[key] = stage
                self.write_error(f"{stage}\n".encode())
            return
        width = max(os.get_terminal_size(sys.stderr.fileno()).columns - 1, 20)
        if key not in self._lines:
            self._lines[key] = text
            self.write_error(f"{text[:width]}\n".encode())
            return
        self._lines[key] = text
        up = len(self._lines) - list(self._lines).index(key)
        # cursor up, to the line's start, clear it, write, and down again
        self.write_error(f"\x1b[{up}A\r\x1b[2K{text[:width]}\x1b[{up}B\r".encode())

    def progress_done(self) -> None:
        self._lines.clear()
