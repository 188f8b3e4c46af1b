"""Pseudo terminals: opening a pair in a given devpts, sizes, the controlling terminal."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

TIOCGPTN = 0x80045430
TIOCSPTLCK = 0x40045431
TIOCGPTPEER = 0x5441


def open_pair(ptmx: str) -> tuple[int, int, int]:
    """A new terminal of the devpts that `ptmx` belongs to: (master, slave, number).

    The slave is opened through the master (TIOCGPTPEER), so no path of the container is trusted.
    """
    master = os.open(ptmx, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
    (number,) = struct.unpack("i", fcntl.ioctl(master, TIOCGPTN, b"\0" * 4))
    slave = fcntl.ioctl(master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    return master, slave, number


def set_size(terminal: int, rows: int, columns: int) -> None:
    """TIOCSWINSZ; the foreground process group hears SIGWINCH."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def make_controlling(terminal: int) -> None:
    """TIOCSCTTY: the terminal of this session, whose leader the caller is."""
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
