"""What past builds were made from, kept in the engine's database to say why a step is run again.

A record belongs to the build's first tag and its target. What was not built under that name is compared with
the last build of the same repository, and else with whatever earlier build is most like it. The number of
records is bounded, and so is the list of files that one keeps.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from labkernel.engine.build.explanation import CopiedFile, Files, StepRecord, likeness
from labkernel.engine.database import Database

KEPT_BUILDS = 100
KEPT_FILES = 20_000
"""Files of one COPY; of more none is kept, and a change is told without names."""

KEPT_BYTES = 32 << 20
"""Of all lists of files together, packed; the oldest builds' go first."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS build_records (
    name TEXT PRIMARY KEY,    -- tag, space, target; or ? and a number
    finished REAL NOT NULL,   -- Unix seconds
    steps BLOB NOT NULL       -- zlib, JSON list of StepRecord's fields
);
CREATE TABLE IF NOT EXISTS build_record_files (
    record TEXT NOT NULL REFERENCES build_records (name) ON DELETE CASCADE,
    key TEXT NOT NULL,        -- the cache key of what a step copied
    files BLOB NOT NULL,      -- zlib, JSON object: path -> fields of CopiedFile
    PRIMARY KEY (record, key)
) WITHOUT ROWID;
"""
_HOW_IT_WENT = ("cached", "no_cache", "not_in_cache_from")


@dataclass(frozen=True)
class BuildRecord:
    """An earlier build; `keys` are those of the lists of files that it has."""

    name: str
    steps: tuple[StepRecord, ...]
    keys: frozenset[str]


class BuildRecords:
    def __init__(self, database: Database) -> None:
        self._database = database
        database.create_tables(_SCHEMA)

    def find(self, name: str | None, instructions: Sequence[str]) -> BuildRecord | None:
        """The build to compare one with: that of its name, the last of its repository, the latest of those
        most like it."""
        if name and (row := self._named(name)):
            return self._record(row["name"], row["steps"])
        best: tuple[float, str, bytes] | None = None
        for row in self._database.rows("SELECT name, steps FROM build_records ORDER BY finished DESC"):
            value = likeness([step.code for step in _unpack_steps(row["steps"])], instructions)
            if value and (best is None or value > best[0]):
                best = (value, row["name"], row["steps"])
        return self._record(best[1], best[2]) if best else None

    def _named(self, name: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None
        row = self._database.row("SELECT name, steps FROM build_records WHERE name = ?", (name,))
        if row is not None:
            return row
        tag, _, target = name.partition(" ")
        repository = tag.rpartition(":")[0]
        for row in self._database.rows("SELECT name, steps FROM build_records ORDER BY finished DESC"):
            other, _, other_target = row["name"].partition(" ")
            if (other.rpartition(":")[0], other_target) == (repository, target):
                return row
        return None

    def _record(self, name: str, steps: bytes) -> BuildRecord:
        rows = self._database.rows("SELECT key FROM build_record_files WHERE record = ?", (name,))
        return BuildRecord(name, tuple(_unpack_steps(steps)), frozenset(row["key"] for row in rows))

    def files(self, record: BuildRecord, key: str) -> Files | None:
        row = self._database.row(
            "SELECT files FROM build_record_files WHERE record = ? AND key = ?", (record.name, key)
        )
        return _unpack_files(row["files"]) if row else None

    def save(
        self,
        name: str | None,
        steps: Sequence[StepRecord],
        files: Mapping[str, Files],
        compared: BuildRecord | None,
    ) -> None:
        """Keep a build in place of the last one of its name; without a name, in place of the one without a
        name that it was compared with. Lists of files it shares with that one are kept on."""
        if name is None:
            is_nameless = compared is not None and compared.name.startswith("?")
            name = compared.name if compared and is_nameless else "?" + secrets.token_hex(8)
        keys = {step.files for step in steps if step.files}
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO build_records VALUES (?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET finished = excluded.finished, steps = excluded.steps",
                (name, time.time(), _pack_steps(steps)),
            )
            for row in self._database.rows("SELECT key FROM build_record_files WHERE record = ?", (name,)):
                if row["key"] not in keys:
                    self._database.execute(
                        "DELETE FROM build_record_files WHERE record = ? AND key = ?", (name, row["key"])
                    )
            for key in keys:
                if key in files:
                    self._database.execute(
                        "INSERT OR IGNORE INTO build_record_files VALUES (?, ?, ?)",
                        (name, key, _pack_files(files[key])),
                    )
                elif compared is not None and compared.name != name:
                    self._database.execute(
                        "INSERT OR IGNORE INTO build_record_files "
                        "SELECT ?, key, files FROM build_record_files WHERE record = ? AND key = ?",
                        (name, compared.name, key),
                    )
            self._database.execute(
                "DELETE FROM build_records WHERE name NOT IN "
                "(SELECT name FROM build_records ORDER BY finished DESC LIMIT ?)",
                (KEPT_BUILDS,),
            )
            if files:
                self._limit_files()

    def _limit_files(self) -> None:
        total = 0
        for row in self._database.rows(
            "SELECT record, sum(length(files)) AS size FROM build_record_files "
            "JOIN build_records ON name = record GROUP BY record ORDER BY finished DESC"
        ):
            total += row["size"]
            if total > KEPT_BYTES:
                self._database.execute("DELETE FROM build_record_files WHERE record = ?", (row["record"],))

    def prune(self, exists: Callable[[str], bool]) -> None:
        """Forget builds of which no image is left."""
        for row in self._database.rows("SELECT name, steps FROM build_records"):
            images = {step.image for step in _unpack_steps(row["steps"]) if not step.is_from}
            if not any(exists(image) for image in images if image):
                self._database.execute("DELETE FROM build_records WHERE name = ?", (row["name"],))


def _pack(value: Any) -> bytes:
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 1)


def _unpack(data: bytes) -> Any:
    return json.loads(zlib.decompress(data))


def _pack_steps(steps: Sequence[StepRecord]) -> bytes:
    kept = [asdict(step) for step in steps]
    return _pack([{k: v for k, v in some.items() if k not in _HOW_IT_WENT} for some in kept])


def _unpack_steps(data: bytes) -> list[StepRecord]:
    # A later version may have kept more.
    known = {field.name for field in fields(StepRecord)}
    return [StepRecord(**{k: v for k, v in some.items() if k in known}) for some in _unpack(data)]


def _pack_files(files: Files) -> bytes:
    return _pack({p: [f.digest, f.size, f.mode, f.uid, f.gid, f.type] for p, f in files.items()})


def _unpack_files(data: bytes) -> Files:
    return {path: CopiedFile(*fields) for path, fields in _unpack(data).items()}
