"""A process's three streams: pipes or a terminal on its side, a log and any number of attached clients on
ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import struct
import termios
from collections import deque

from labkernel.engine.containers.logs import Log

CHUNK = 64 << 10
"""Bytes read at once: what a pipe holds."""
TAP_HIGH_WATER = 1 << 20
"""Bytes that a slow client may be behind before the process is made to wait, as it would on a terminal."""


class Tap:
    """One client's copy of the output: (stream, bytes) pairs until the process ends."""

    def __init__(self, stdio: Stdio) -> None:
        self._stdio = stdio
        self._chunks: deque[tuple[str, bytes]] = deque()
        self._size = 0
        self._arrived = asyncio.Event()
        self._ended = False

    @property
    def full(self) -> bool:
        return self._size > TAP_HIGH_WATER

    def feed(self, stream: str, data: bytes) -> None:
        self._chunks.append((stream, data))
        self._size += len(data)
        self._arrived.set()

    def end(self) -> None:
        self._ended = True
        self._arrived.set()

    async def read(self) -> tuple[str, bytes] | None:
        """The next piece of output, None when there will be no more."""
        while not self._chunks:
            if self._ended:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        stream, data = self._chunks.popleft()
        was_full = self.full
        self._size -= len(data)
        if was_full and not self.full:
            self._stdio.resume()
        return stream, data


class Stdio:
    """Streams that outlive the process: a client may attach before the start and stays over it."""

    def __init__(self, *, terminal: bool, stdin: bool, log: Log | None = None) -> None:
        self.terminal = terminal
        self._wants_stdin = stdin
        self._log = log
        self._taps: set[Tap] = set()
        self._outputs: dict[int, str] = {}
        self._child: list[int] = []
        self._stdin: int | None = None
        self._master: int | None = None
        self._writable: asyncio.Future[None] | None = None
        self._finished: asyncio.Future[None] | None = None
        self.ready = asyncio.Event()
        self._paused = False

    # the process's life

    def open(self) -> tuple[int | None, int | None, int | None]:
        """Make the pipes; returns the process's ends of stdin, stdout, stderr. None: /dev/null, or a
        terminal.
        """
        self._finished = asyncio.get_running_loop().create_future()
        if self._log:
            self._log.open()
        if self.terminal:
            return None, None, None
        stdin = None
        if self._wants_stdin:
            stdin, self._stdin = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._stdin, False)
            self._child.append(stdin)
        ends = []
        for stream in ("stdout", "stderr"):
            ours, theirs = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(ours, False)
            self._outputs[ours] = stream
            self._child.append(theirs)
            ends.append(theirs)
        return stdin, ends[0], ends[1]

    def started(self, master: int | None) -> None:
        """The process runs: its ends are its own now; `master` is its terminal's other side."""
        self._close_child_ends()
        if master is not None:
            os.set_blocking(master, False)
            self._master = self._stdin = master
            self._outputs[master] = "stdout"
        loop = asyncio.get_running_loop()
        for output in self._outputs:
            loop.add_reader(output, self._read, output)
        self.ready.set()

    def failed(self) -> None:
        """The process did not start."""
        self._close_child_ends()
        for output in self._outputs:
            os.close(output)
        self._outputs.clear()
        self._end()

    async def finish(self, patience: float = 2.0) -> None:
        """The process ended: take what is still in its pipes, then end log, clients and stdin.

        A process that left its pipes to another outside its namespaces would keep us waiting: hence the
        patience, in seconds.
        """
        if self._finished is not None and not self._finished.done():
            self._paused = False
            self._listen()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._finished), patience)
        for output in list(self._outputs):
            self._read(output)  # what a stalled client has kept us from: a pipe holds no more than a chunk
            if output in self._outputs:
                self._close_output(output)
        self._end()

    def _close_child_ends(self) -> None:
        for end in self._child:
            os.close(end)
        self._child.clear()

    def _end(self) -> None:
        self.close_stdin()
        self.ready.clear()
        if self._log:
            self._log.close()
        for tap in self._taps:
            tap.end()
        self._taps.clear()

    # output

    def _read(self, output: int) -> None:
        try:
            data = os.read(output, CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:  # a terminal's master says EIO once every slave is closed
                raise
            data = b""
        if not data:
            self._close_output(output)
            return
        stream = self._outputs[output]
        if self._log:
            self._log.write(stream, data)
        for tap in self._taps:
            tap.feed(stream, data)
        if any(tap.full for tap in self._taps):
            self._pause()

    def _close_output(self, output: int) -> None:
        asyncio.get_running_loop().remove_reader(output)
        del self._outputs[output]
        if output == self._master:
            self._master = None
            self._forget_stdin()
        os.close(output)
        if not self._outputs and self._finished is not None and not self._finished.done():
            self._finished.set_result(None)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            for output in self._outputs:
                asyncio.get_running_loop().remove_reader(output)

    def resume(self) -> None:
        """A slow client has caught up."""
        if self._paused and not any(tap.full for tap in self._taps):
            self._paused = False
            self._listen()

    def _listen(self) -> None:
        for output in self._outputs:
            asyncio.get_running_loop().add_reader(output, self._read, output)

    def tap(self) -> Tap:
        """From now on, a copy of the output."""
        tap = Tap(self)
        self._taps.add(tap)
        return tap

    def untap(self, tap: Tap) -> None:
        self._taps.discard(tap)
        self.resume()

    # input

    async def write_stdin(self, data: bytes) -> bool:
        """Give the process input, waiting while it does not read; False once it takes no more."""
        await self.ready.wait()
        view = memoryview(data)
        while view:
            if self._stdin is None:
                return False
            try:
                view = view[os.write(self._stdin, view) :]
            except BlockingIOError:
                await self._stdin_writable(self._stdin)
            except OSError:
                return False
        return True

    async def _stdin_writable(self, descriptor: int) -> None:
        """One watch for all who wait; it ends when there is room, or the descriptor is closed."""
        if self._writable is None:
            loop = asyncio.get_running_loop()
            self._writable = loop.create_future()
            loop.add_writer(descriptor, self._stop_watching, descriptor)
        await asyncio.shield(self._writable)

    def _stop_watching(self, descriptor: int) -> None:
        if self._writable is not None:
            asyncio.get_running_loop().remove_writer(descriptor)
            self._writable.set_result(None)
            self._writable = None

    def _forget_stdin(self) -> None:
        if self._stdin is not None:
            self._stop_watching(self._stdin)
            self._stdin = None

    def close_stdin(self) -> None:
        """The client has no more input: on a pipe the process reads end-of-file."""
        if self._stdin is not None and self._stdin != self._master:
            descriptor = self._stdin
            self._forget_stdin()
            os.close(descriptor)

    def resize(self, rows: int, columns: int) -> None:
        """Tell the terminal its size (ioctl_tty(2), TIOCSWINSZ)."""
        if self._master is not None:
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
