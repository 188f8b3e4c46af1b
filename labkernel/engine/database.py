"""The engine's metadata: one SQLite file in WAL mode, shared by the engine's threads."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from labkernel.engine.reserve import Reserve


class Database:
    """One connection behind a lock. A row is a `sqlite3.Row`.

    Writes survive the engine being killed at any moment (WAL); `synchronous=NORMAL` lets the last
    transactions before a power cut be lost, never the file's consistency
    (sqlite.org/pragma.html#pragma_synchronous).
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute("PRAGMA foreign_keys=ON")
        self._reserve = Reserve(path.with_name(f"{path.name}-reserve"))

    def create_tables(self, schema: str) -> None:
        """Run a script of `CREATE ... IF NOT EXISTS` statements; each package owns the tables it names."""
        with self._lock:
            self._connection.executescript(schema)

    def execute(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> sqlite3.Cursor:
        with self._lock:
            if sql.startswith("DELETE") and not self._connection.in_transaction:
                with self._room():
                    return self._connection.execute(sql, parameters)
            return self._connection.execute(sql, parameters)

    def rows(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> sqlite3.Row | None:
        with self._lock:
            found: sqlite3.Row | None = self._connection.execute(sql, parameters).fetchone()
            return found

    @contextmanager
    def transaction(self, *, freeing: bool = False) -> Iterator[None]:
        """All or nothing; nested transactions join the outer one. One that is `freeing` goes through on a
        full disk, too.
        """
        with self._lock, self._room() if freeing else nullcontext():
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def _room(self) -> Iterator[None]:
        """With the reserve at hand, should the disk be full."""
        given_up = not self._connection.in_transaction and self._reserve.give_up()
        try:
            yield
        finally:
            if given_up:
                # What was written went to the end of the log, whose room comes back when it is emptied.
                with suppress(sqlite3.OperationalError):
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self._reserve.keep()

    def close(self) -> None:
        with self._lock:
            self._connection.close()
