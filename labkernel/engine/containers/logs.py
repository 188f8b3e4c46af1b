"""A container's log: one JSON object a line, as Docker's json-file driver writes it.

`{"log":"hello\\n","stream":"stdout","time":"2026-01-02T03:04:05.123456789Z"}`. A line longer than 16 KiB is
written in parts; a part that is not the last has no newline.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import islice
from json.encoder import encode_basestring
from pathlib import Path
from typing import BinaryIO

from labkernel.engine.timestamps import rfc3339

logger = logging.getLogger(__name__)

PART = 16 << 10
"""Bytes after which an unfinished line is written as a part."""
BATCH = 1000
"""Lines read at once."""
_TAIL_BLOCK = 64 << 10
_BREAK = "\udc0a"
"""Stands for a newline while lines are encoded: half a surrogate pair is in no text that was decoded."""


@dataclass(frozen=True)
class Entry:
    """One line, or a part of one: `time` is RFC 3339 in UTC, so text order is time order."""

    stream: str
    line: bytes
    time: str


class Log:
    """Written by the container's streams, read by any number of followers."""

    def __init__(self, path: Path, *, enabled: bool = True) -> None:
        self.path = path
        self.enabled = enabled
        self._file: int | None = None
        self._unfinished = {"stdout": b"", "stderr": b""}
        self._cut = self._lossy = False
        self._grown = asyncio.Event()
        self.closed = True

    def open(self) -> None:
        """The container starts: followers wait for more."""
        self.closed = False

    def write(self, stream: str, data: bytes) -> None:
        if not self.enabled:
            return
        data = self._unfinished[stream] + data
        ending = self._ending(stream)
        records = []
        start = 0
        lines, newline, _ = data.rpartition(b"\n")
        if newline and max(map(len, lines.split(b"\n"))) < PART:
            records.append(_records(lines, ending))
            start = len(lines) + 1
        while True:
            end = data.find(b"\n", start, start + PART) + 1 or start + PART
            if end > len(data):
                break
            records.append(_record(data[start:end], ending))
            start = end
        self._unfinished[stream] = data[start:]
        if records:
            self._append(b"".join(records))

    def close(self) -> None:
        """The container ended: what has no newline is written too, followers stop."""
        for stream, rest in self._unfinished.items():
            if rest:
                self._append(_record(rest, self._ending(stream)))
                self._unfinished[stream] = b""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self.closed = True
        self._wake()

    @staticmethod
    def _ending(stream: str) -> str:
        """What follows the text in a record: what arrived together has one time."""
        return f',"stream":"{stream}","time":"{rfc3339()}"}}\n'

    def _append(self, records: bytes) -> None:
        """On a full disk records are lost and the container goes on: its output still reaches its clients."""
        try:
            if self._file is None:
                self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            if self._cut:  # the half of a record that the disk had room for gets a line of its own
                records = b"\n" + records
            written = os.write(self._file, records)
            self._cut = written < len(records) and not records[:written].endswith(b"\n")
        except OSError as error:
            if not self._lossy:
                logger.warning("%s: output is lost: %s", self.path, error.strerror)
            self._lossy = True
        self._wake()

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()

    async def read(
        self, *, tail: int | None = None, since: str = "", until: str = "", follow: bool = False
    ) -> AsyncIterator[Entry]:
        """The entries, oldest first: the last `tail` of them, from `since` to `until`, and new ones while
        following.
        """
        position = 0
        if tail is not None and not since:
            position = await asyncio.to_thread(self._tail_position, tail)
        last: deque[Entry] = deque(maxlen=tail)
        async for size, entry in self._from(position):
            position += size
            if entry and entry.time >= since and not (until and entry.time > until):
                if tail is None or not since:
                    yield entry
                else:
                    last.append(entry)
        for entry in last:
            yield entry
        while follow:
            grown = self._grown
            async for size, entry in self._from(position):
                position += size
                if entry and until and entry.time > until:
                    return
                if entry:
                    yield entry
            if self.closed and grown is self._grown:
                return
            if grown is self._grown:
                await grown.wait()

    async def _from(self, position: int) -> AsyncIterator[tuple[int, Entry | None]]:
        """Each whole line from `position` on: its size and its entry, None where it makes no sense.

        Read and parsed in a thread: a log may be long, and others wait for the loop.
        """
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(position)
            while batch := await asyncio.to_thread(_batch, file):
                for item in batch:
                    yield item
                if len(batch) < BATCH:
                    return

    def _tail_position(self, lines: int) -> int:
        if not self.path.exists():
            return 0
        with self.path.open("rb") as file:
            return _tail_position(file.fileno(), lines)


def _batch(file: BinaryIO) -> list[tuple[int, Entry | None]]:
    """The next lines, BATCH of them unless the end is near; a line that is still being written is not one."""
    return [(len(raw), _parse(raw)) for raw in islice(file, BATCH) if raw.endswith(b"\n")]


def _records(lines: bytes, ending: str) -> bytes:
    """A record for each of some lines, the last without its newline; made at once, for they may be
    thousands.
    """
    text = encode_basestring(lines.decode("utf-8", "replace").replace("\n", _BREAK))
    return f'{{"log":{text[:-1]}\\n"{ending}'.replace(_BREAK, f'\\n"{ending}{{"log":"').encode()


def _record(line: bytes, ending: str) -> bytes:
    text = encode_basestring(line.decode("utf-8", "replace"))
    return f'{{"log":{text}{ending}'.encode()


def _parse(raw: bytes) -> Entry | None:
    try:
        record = json.loads(raw)
        return Entry(record["stream"], record["log"].encode("utf-8", "replace"), record["time"])
    except (ValueError, KeyError, TypeError):  # a line cut short by a full disk or a power cut
        return None


def _tail_position(file: int, lines: int) -> int:
    """The offset of the last `lines` lines, found by reading backwards."""
    position = os.fstat(file).st_size
    wanted = lines + 1
    while position > 0:
        start = max(0, position - _TAIL_BLOCK)
        block = os.pread(file, position - start, start)
        count = block.count(b"\n")
        if count >= wanted:
            offset = len(block)
            for _ in range(wanted):
                offset = block.rindex(b"\n", 0, offset)
            return start + offset + 1
        wanted -= count
        position = start
    return 0
