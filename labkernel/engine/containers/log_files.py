"""The files of one log: the one that is written, and the older ones that rotation has kept beside it.

`PATH` is written; `PATH.1` is the one before, and so on, `.gz` behind those that are compressed. A file keeps
its number for as long as it exists, whatever it is called meanwhile.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_TAIL_BLOCK = 64 << 10


@dataclass(frozen=True)
class Rotation:
    """A new file is begun once one has `max_size` bytes (None: never); `max_files` are kept, the newest
    included.
    """

    max_size: int | None = None
    max_files: int = 1
    compress: bool = False


class LogFiles:
    def __init__(self, path: Path, rotation: Rotation) -> None:
        self.path = path
        self.newest = 0
        """The number of the file that is written, or will be."""
        self._rotation = rotation
        self._file: int | None = None
        self._size = 0
        self._cut = False
        self._names = threading.Lock()

    def append(self, records: bytes) -> None:
        """Write whole lines. Raises OSError; half of a line may have been written."""
        limit = self._rotation.max_size
        if limit is None:
            self._write(records)
            return
        begun = 0
        while begun < len(records):
            self._open()
            if self._size >= limit:
                self._rotate()
                self._open()
            end = begun + limit - self._size - 1  # the line that fills the file is its last
            end = records.find(b"\n", end) + 1 or len(records)
            self._write(records[begun:end])
            begun = end

    def _open(self) -> int:
        if self._file is None:
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            self._size = os.fstat(self._file).st_size
        return self._file

    def _write(self, records: bytes) -> None:
        file = self._open()
        if self._cut:  # the half of a record that the disk had room for gets a line of its own
            records = b"\n" + records
        written = os.write(file, records)
        self._size += written
        self._cut = written < len(records) and not records[:written].endswith(b"\n")

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    # rotation

    def _name(self, number: int) -> Path:
        age = self.newest - number
        return self.path.with_name(f"{self.path.name}.{age}") if age else self.path

    def _rotate(self) -> None:
        self.close()
        with self._names:
            oldest = self.newest - self._rotation.max_files + 1
            for number in range(oldest, self.newest + 1):
                for ending in ("", ".gz"):
                    name, older = f"{self._name(number)}{ending}", f"{self._name(number - 1)}{ending}"
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(name) if number == oldest else os.rename(name, older)
            self.newest += 1
        if self._rotation.compress and self._rotation.max_files > 1:
            # In a thread: the file may be as large as it was allowed to be, and others wait for the loop.
            threading.Thread(target=self._compress, args=(self.newest - 1,), daemon=True).start()

    def _compress(self, number: int) -> None:
        made = self.path.with_name(f"{self.path.name}.compressing-{number}")
        with contextlib.suppress(OSError):  # the container is gone, or the disk is full: it stays as it is
            with self._names:
                source = self._name(number).open("rb")
            with source, gzip.open(made, "wb") as target:
                shutil.copyfileobj(source, target)
            with self._names:
                name = self._name(number)
                if name.exists():
                    made.rename(f"{name}.gz")
                    name.unlink()
        with contextlib.suppress(OSError):
            made.unlink()

    # reading

    def open_all(self, lines: int | None = None) -> list[tuple[int, BinaryIO]]:
        """Number and file of each, oldest first; of those only what has the last `lines`
        lines, and standing where they begin. The caller closes them.
        """
        found: list[tuple[int, BinaryIO]] = []
        with self._names:
            for number in range(self.newest, self.newest - self._rotation.max_files, -1):
                if (file := self._open_to_read(number)) is not None:
                    found.append((number, file))
                    if lines is not None:
                        offset, lines = _tail(file, lines)
                        file.seek(offset)
                    if lines == 0:
                        break
        return found[::-1]

    def open_next(self, number: int) -> tuple[int, BinaryIO] | None:
        """What was begun after the file of this number; None while there is none."""
        with self._names:
            for later in range(max(number + 1, self.newest - self._rotation.max_files + 1), self.newest + 1):
                if (file := self._open_to_read(later)) is not None:
                    return later, file
        return None

    def _open_to_read(self, number: int) -> BinaryIO | None:
        name = self._name(number)
        with contextlib.suppress(FileNotFoundError):
            return name.open("rb")
        with contextlib.suppress(FileNotFoundError):
            return io.BytesIO(gzip.decompress(Path(f"{name}.gz").read_bytes()))
        return None


def _tail(file: BinaryIO, lines: int) -> tuple[int, int]:
    """(the offset of the last `lines` lines, how many of them are missing), found by reading backwards."""
    position = file.seek(0, os.SEEK_END)
    wanted = lines + 1
    while position > 0:
        start = max(0, position - _TAIL_BLOCK)
        file.seek(start)
        block = file.read(position - start)
        count = block.count(b"\n")
        if count >= wanted:
            offset = len(block)
            for _ in range(wanted):
                offset = block.rindex(b"\n", 0, offset)
            return start + offset + 1, 0
        wanted -= count
        position = start
    return 0, wanted - 1
