"""Where a command writes while it runs: a notebook cell and a terminal each bring a Console of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, Protocol


class Terminal(Protocol):
    """A real terminal, for `run -it`, `exec -it` and `attach`."""

    def size(self) -> tuple[int, int]:
        """(rows, columns) at this moment."""
        ...

    def raw(self) -> None:
        """Pass every key to the container: no echo, no line editing, no signals from keys."""
        ...

    def restore(self) -> None:
        """Undo `raw`."""
        ...

    def fileno(self) -> int:
        """The descriptor to read keys from."""
        ...

    def on_resize(self, changed: Callable[[], None] | None) -> None:
        """Call `changed` whenever the size changes; None stops it."""
        ...


class Console(Protocol):
    """What a command needs of the place it runs in. Its result is shown by the caller, not here."""

    stdin: BinaryIO | None
    """What `-i` reads; None where there is nothing to read (a notebook cell)."""
    terminal: Terminal | None
    """The terminal for `-t`; None where there is none."""

    def write(self, data: bytes) -> None:
        """Show standard output as it comes. Chunks may end inside a line or a UTF-8 character."""
        ...

    def write_error(self, data: bytes) -> None:
        """Show standard error as it comes."""
        ...

    def note(self, data: bytes) -> None:
        """Show what is no output of a container and no failure, such as that an image is fetched first."""
        ...

    def progress(self, key: str, text: str) -> None:
        """Show one line of progress; a later call with the same key replaces the line in place."""
        ...

    def progress_done(self) -> None:
        """The present group of progress lines is final; later ones start a new group below."""
        ...


class Recorder:
    """A console that only keeps what it is given, for nested commands and quiet callers."""

    def __init__(self) -> None:
        self.stdin: BinaryIO | None = None
        self.terminal: Terminal | None = None
        self.stdout = b""
        self.stderr = b""
        self.progress_lines: dict[str, str] = {}

    def write(self, data: bytes) -> None:
        self.stdout += data

    def write_error(self, data: bytes) -> None:
        self.stderr += data

    def note(self, data: bytes) -> None:
        self.stderr += data

    def progress(self, key: str, text: str) -> None:
        self.progress_lines[key] = text

    def progress_done(self) -> None:
        pass
