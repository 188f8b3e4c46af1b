"""A container's log: one JSON object a line, as Docker's json-file driver writes it.

`{"log":"hello\\n","stream":"stdout","time":"2026-01-02T03:04:05.123456789Z"}`. A line longer than 16 KiB is
written in parts; a part that is not the last has no newline.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from json.encoder import encode_basestring
from pathlib import Path
from typing import BinaryIO

from labkernel.engine.containers.log_files import LogFiles, Rotation
from labkernel.engine.timestamps import rfc3339

logger = logging.getLogger(__name__)

PART = 16 << 10
"""Bytes after which an unfinished line is written as a part."""
BATCH = 1000
"""Lines read at once."""
_BREAK = "\udc0a"
"""Stands for a newline while lines are encoded: half a surrogate pair is in no text that was decoded."""


@dataclass(frozen=True)
class Entry:
    """One line, or a part of one: `time` is RFC 3339 in UTC, so text order is time order."""

    stream: str
    line: bytes
    time: str
    attributes: Mapping[str, str] = field(default_factory=dict)


class Log:
    """Written by the container's streams, read by any number of followers.

    `attributes` tell, when the container starts, what is noted with each of its lines.
    """

    def __init__(
        self,
        path: Path,
        *,
        enabled: bool = True,
        rotation: Rotation | None = None,
        attributes: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self.path = path
        self.enabled = enabled
        self._files = LogFiles(path, rotation or Rotation())
        self._attributes = attributes
        self._noted = ""
        self._unfinished = {"stdout": b"", "stderr": b""}
        self._lossy = False
        self._grown = asyncio.Event()
        self.closed = True

    def open(self) -> None:
        """The container starts: followers wait for more."""
        self.closed = False
        noted = self._attributes()
        self._noted = f',"attrs":{json.dumps(noted, separators=(",", ":"))}' if noted else ""

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
        self._files.close()
        self.closed = True
        self._wake()

    def _ending(self, stream: str) -> str:
        """What follows the text in a record: what arrived together has one time."""
        return f',"stream":"{stream}"{self._noted},"time":"{rfc3339()}"}}\n'

    def _append(self, records: bytes) -> None:
        """On a full disk records are lost and the container goes on: its output still reaches its clients."""
        try:
            self._files.append(records)
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
        newest = self._files.newest
        opened = await asyncio.to_thread(self._files.open_all, None if since else tail)
        with contextlib.ExitStack() as files:
            for _, file in opened:
                files.enter_context(file)
            last: deque[Entry] = deque(maxlen=tail)
            position = 0
            for _, file in opened:
                position = file.tell()
                async for size, entry in _entries(file, position):
                    position += size
                    if entry and entry.time >= since and not (until and entry.time > until):
                        if tail is None or not since:
                            yield entry
                        else:
                            last.append(entry)
            for entry in last:
                yield entry
            if follow:
                number, current = opened[-1] if opened else (newest - 1, io.BytesIO())
                async for entry in self._follow(number, current, position):
                    if until and entry.time > until:
                        return
                    yield entry

    async def _follow(self, number: int, file: BinaryIO, position: int) -> AsyncIterator[Entry]:
        """What is written to the file of that number from now on, and to those that come after it."""
        with contextlib.ExitStack() as files:
            while True:
                grown, complete = self._grown, self._files.newest > number
                async for size, entry in _entries(file, position):
                    position += size
                    if entry:
                        yield entry
                if complete and (following := self._files.open_next(number)):
                    files.close()
                    number, file = following
                    files.enter_context(file)
                    position = 0
                elif grown is self._grown:
                    if self.closed:
                        return
                    await grown.wait()


async def _entries(file: BinaryIO, position: int) -> AsyncIterator[tuple[int, Entry | None]]:
    """Each whole line from `position` on: its size and its entry, None where it makes no sense.

    Read and parsed in a thread: a log may be long, and others wait for the loop.
    """
    file.seek(position)
    while batch := await asyncio.to_thread(_batch, file):
        for item in batch:
            yield item
        if len(batch) < BATCH:
            return


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
        line = record["log"].encode("utf-8", "replace")
        return Entry(record["stream"], line, record["time"], record.get("attrs") or {})
    except (ValueError, KeyError, TypeError):  # a line cut short by a full disk or a power cut
        return None
