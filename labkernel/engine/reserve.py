"""Room on the disk that is kept for freeing more of it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

SIZE = 1 << 20
"""Bytes; what the database writes to forget a container or an image is a tenth of it."""


class Reserve:
    """A file of no content. While it is given up, deletions can be written down though the disk is full."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.keep()

    def keep(self) -> bool:
        """Take the room, if it is there; whether it is taken now."""
        with contextlib.suppress(OSError):
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, SIZE)
                return True
            except OSError:
                os.ftruncate(file, 0)
            finally:
                os.close(file)
        return False

    def give_up(self) -> bool:
        """Give the room to whoever writes next, if nobody else has any left; whether that was so."""
        with contextlib.suppress(OSError):
            there = os.statvfs(self._path)
            room = there.f_bavail * there.f_frsize
            if room < SIZE:
                os.truncate(self._path, 0)
                return True
            if room > 2 * SIZE and self._path.stat().st_size < SIZE:
                self.keep()  # others had been quicker to take it
        return False
