"""Which repositories have which layer in which archive: what was pulled and pushed before, remembered.

A layer is known here by its diff_id, in registries by its archive's digest, which compressing it alone would
tell. And a registry gives a blob to another repository when it is told where it has it.
"""

from __future__ import annotations

from typing import NamedTuple

from labkernel.engine.database import Database
from labkernel.engine.distribution.manifests import Descriptor

_KEPT = 50
"""Entries for one layer, as for Docker; the oldest go."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS blob_sources (
    diff_id TEXT NOT NULL,
    domain TEXT NOT NULL,
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    UNIQUE (diff_id, domain, repository, digest)
);
"""


class BlobSource(NamedTuple):
    """An archive of a layer, and a repository of a registry that has it, or had."""

    blob: Descriptor
    domain: str
    repository: str


class BlobSources:
    """Methods may be called from several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create_tables(_SCHEMA)

    def add(self, diff_id: str, source: BlobSource) -> None:
        blob, domain, repository = source
        with self._database.transaction():
            self._database.execute(
                "INSERT OR REPLACE INTO blob_sources VALUES (?, ?, ?, ?, ?, ?, NULL)",
                (diff_id, domain, repository, blob.digest, blob.size, blob.media_type),
            )
            self._database.execute(
                "DELETE FROM blob_sources WHERE diff_id = ?1 AND number NOT IN "
                "(SELECT number FROM blob_sources WHERE diff_id = ?1 ORDER BY number DESC LIMIT ?2)",
                (diff_id, _KEPT),
            )

    def of(self, diff_id: str, domain: str, repository: str) -> list[BlobSource]:
        """For a push to a repository: those in it first, then those of its registry, each the newest first.
        What another registry has is left out: it may not be meant for this one."""
        rows = self._database.rows(
            "SELECT * FROM blob_sources WHERE diff_id = ? AND domain = ? "
            "ORDER BY repository = ? DESC, number DESC",
            (diff_id, domain, repository),
        )
        return [
            BlobSource(Descriptor(row["media_type"], row["digest"], row["size"]), domain, row["repository"])
            for row in rows
        ]
