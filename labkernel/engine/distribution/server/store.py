"""What the registry holds: blobs as files, everything else as rows of one SQLite file.

A file gets its name in `blobs/` before a row speaks of it and loses it after the last row is gone, so a
server killed at any moment leaves rows that are true, and files that the next start removes.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from labkernel.engine.database import Database
from labkernel.engine.distribution.server import documents
from labkernel.engine.distribution.server.documents import Parts
from labkernel.engine.distribution.server.errors import Refused

SCHEMA = """
CREATE TABLE IF NOT EXISTS blobs (
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    added INTEGER NOT NULL,              -- Unix seconds
    PRIMARY KEY (repository, digest)
);
CREATE INDEX IF NOT EXISTS blobs_digest ON blobs (digest);
CREATE TABLE IF NOT EXISTS manifests (
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    content BLOB NOT NULL,
    subject TEXT,                        -- digest of the manifest that this one is about
    artifact_type TEXT NOT NULL,
    PRIMARY KEY (repository, digest)
);
CREATE INDEX IF NOT EXISTS manifests_subject ON manifests (repository, subject);
CREATE TABLE IF NOT EXISTS tags (
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (repository, tag),
    FOREIGN KEY (repository, digest) REFERENCES manifests ON DELETE CASCADE
);
"""


KEPT_SECONDS = 24 * 3600
"""How long a blob that no manifest refers to is kept, and an upload that nobody goes on with."""


class StoredManifest(NamedTuple):
    """A manifest's bytes as they came."""

    digest: str
    media_type: str
    content: bytes


class Store:
    """Called from the event loop's thread only."""

    def __init__(self, root: Path, database: Database) -> None:
        self._directory = root / "blobs"
        self._database = database
        database.create_tables(SCHEMA)
        for algorithm in ("sha256", "sha512"):
            (self._directory / algorithm).mkdir(parents=True, exist_ok=True)
        self._forget_unneeded_blobs()
        self._remove_unknown_files()

    def _path(self, digest: str) -> Path:
        return self._directory.joinpath(*digest.split(":"))

    def _forget_unneeded_blobs(self) -> None:
        """Those that no manifest of their repository refers to, once a push can no longer be on its way."""
        needed: set[tuple[str, str]] = set()
        for row in self._database.rows("SELECT repository, media_type, content FROM manifests"):
            parts = documents.parse(row["content"], row["media_type"])
            needed.update((row["repository"], digest) for digest in (*parts.blobs, *parts.elsewhere))
        oldest = int(time.time()) - KEPT_SECONDS
        with self._database.transaction():
            for row in self._database.rows("SELECT repository, digest FROM blobs WHERE added < ?", (oldest,)):
                if tuple(row) not in needed:
                    self._database.execute(
                        "DELETE FROM blobs WHERE repository = ? AND digest = ?", tuple(row)
                    )

    def _remove_unknown_files(self) -> None:
        known = {row[0] for row in self._database.rows("SELECT DISTINCT digest FROM blobs")}
        for file in self._directory.glob("*/*"):
            if f"{file.parent.name}:{file.name}" not in known:
                file.unlink()

    # --- repositories

    def require(self, repository: str) -> None:
        """Raises Refused for a repository that nothing was ever pushed to."""
        for table in ("manifests", "blobs"):
            if self._database.row(f"SELECT 1 FROM {table} WHERE repository = ? LIMIT 1", (repository,)):
                return
        raise Refused("NAME_UNKNOWN", "repository name not known to registry", {"name": repository})

    def repositories(self, last: str, limit: int) -> list[str]:
        """Those that hold a manifest, in alphabetical order, after `last`."""
        found = self._database.rows(
            "SELECT DISTINCT repository FROM manifests WHERE repository > ? ORDER BY repository LIMIT ?",
            (last, limit),
        )
        return [row[0] for row in found]

    # --- blobs

    def blob_size(self, repository: str, digest: str) -> int:
        """In bytes. Raises Refused."""
        row = self._database.row(
            "SELECT size FROM blobs WHERE repository = ? AND digest = ?", (repository, digest)
        )
        if row is None or not self._path(digest).is_file():
            raise Refused("BLOB_UNKNOWN", "blob unknown to registry", {"digest": digest})
        return int(row[0])

    def open_blob(self, digest: str) -> BinaryIO:
        return self._path(digest).open("rb")

    def add_blob(self, repository: str, digest: str, size: int, file: Path) -> None:
        """Take a file whose bytes have been checked. Its old name stays."""
        path = self._path(digest)
        if not path.exists():
            os.link(file, path)
        self._have(repository, digest, size)

    def mount(self, repository: str, digest: str) -> bool:
        """Have a blob in this repository too that any other has; False if none does."""
        row = self._database.row("SELECT size FROM blobs WHERE digest = ? LIMIT 1", (digest,))
        if row is None or not self._path(digest).is_file():
            return False
        self._have(repository, digest, row[0])
        return True

    def _have(self, repository: str, digest: str, size: int) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?)", (repository, digest, size, int(time.time()))
        )

    def delete_blob(self, repository: str, digest: str) -> None:
        """Raises Refused."""
        self.blob_size(repository, digest)
        self._database.execute("DELETE FROM blobs WHERE repository = ? AND digest = ?", (repository, digest))
        if self._database.row("SELECT 1 FROM blobs WHERE digest = ? LIMIT 1", (digest,)) is None:
            self._path(digest).unlink(missing_ok=True)

    # --- manifests

    def manifest(self, repository: str, reference: str) -> StoredManifest:
        """By tag or digest. Raises Refused."""
        row = self._database.row(
            "SELECT m.digest, m.media_type, m.content FROM manifests m "
            "WHERE m.repository = :repository AND m.digest IN (:reference, "
            "(SELECT t.digest FROM tags t WHERE t.repository = :repository AND t.tag = :reference))",
            {"repository": repository, "reference": reference},
        )
        if row is None:
            raise Refused(
                "MANIFEST_UNKNOWN", "manifest unknown", {"name": repository, "reference": reference}
            )
        return StoredManifest(*row)

    def add_manifest(
        self, repository: str, manifest: StoredManifest, parts: Parts, tags: Sequence[str]
    ) -> None:
        """Store it and let tags stand for it, all or nothing. Raises Refused if a part of it is missing."""
        with self._database.transaction():
            for digest in parts.blobs:
                self._require_part("blobs", repository, digest)
            for digest in parts.manifests:
                self._require_part("manifests", repository, digest)
            self._database.execute(
                "INSERT INTO manifests VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET media_type = excluded.media_type",
                (repository, *manifest, parts.subject, parts.artifact_type),
            )
            for tag in tags:
                self._database.execute(
                    "INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", (repository, tag, manifest.digest)
                )

    def _require_part(self, table: str, repository: str, digest: str) -> None:
        row = self._database.row(
            f"SELECT 1 FROM {table} WHERE repository = ? AND digest = ?", (repository, digest)
        )
        if row is None:
            raise Refused(
                "MANIFEST_BLOB_UNKNOWN", "manifest references a blob unknown to registry", {"digest": digest}
            )

    def delete_manifest(self, repository: str, digest: str) -> None:
        """With the tags that stand for it. Raises Refused."""
        self._delete("DELETE FROM manifests WHERE repository = ? AND digest = ?", repository, digest)

    def delete_tag(self, repository: str, tag: str) -> None:
        """Raises Refused."""
        self._delete("DELETE FROM tags WHERE repository = ? AND tag = ?", repository, tag)

    def _delete(self, sql: str, repository: str, reference: str) -> None:
        if not self._database.execute(sql, (repository, reference)).rowcount:
            raise Refused(
                "MANIFEST_UNKNOWN", "manifest unknown", {"name": repository, "reference": reference}
            )

    def tags(self, repository: str, last: str, limit: int) -> list[str]:
        """In the spec's order, which does not tell capitals apart, after `last`."""
        found = self._database.rows(
            "SELECT tag FROM tags WHERE repository = ? AND (lower(tag), tag) > (lower(?), ?) "
            "ORDER BY lower(tag), tag LIMIT ?",
            (repository, last, last, limit),
        )
        return [row[0] for row in found]

    def referrers(self, repository: str, subject: str, artifact_type: str) -> list[dict[str, Any]]:
        """Descriptors of the manifests that are about another (distribution-spec, "Listing Referrers"), of
        one artifact type only unless that is empty."""
        found = self._database.rows(
            "SELECT * FROM manifests WHERE repository = ? AND subject = ? AND ? IN ('', artifact_type) "
            "ORDER BY rowid",
            (repository, subject, artifact_type),
        )
        return [_descriptor(row) for row in found]


def _descriptor(row: sqlite3.Row) -> dict[str, Any]:
    described: dict[str, Any] = {
        "mediaType": row["media_type"],
        "digest": row["digest"],
        "size": len(row["content"]),
    }
    if row["artifact_type"]:
        described["artifactType"] = row["artifact_type"]
    if annotations := json.loads(row["content"]).get("annotations"):
        described["annotations"] = annotations
    return described
