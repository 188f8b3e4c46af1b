"""Blobs on their way in: one file for each, which stays where it broke off until its client goes on.

A file's size is how far its upload has come, so an upload survives the server.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from labkernel.engine.database import Database
from labkernel.engine.distribution.server.errors import Refused
from labkernel.engine.distribution.server.store import KEPT_SECONDS, Store
from labkernel.engine.http.byte_queue import ByteQueue

BLOB_LIMIT = 64 << 30
"""Bytes of one blob."""
AT_ONCE = 1000
"""Uploads begun and not ended; more, and the one that was left alone for longest goes."""
PATIENCE = 60.0
"""Seconds between two pieces of a body: a client that vanished must not hold its upload for ever."""

_CHUNK = 1 << 20

SCHEMA = "CREATE TABLE IF NOT EXISTS uploads (id TEXT PRIMARY KEY, repository TEXT NOT NULL);"


class Upload:
    """`size`: bytes that have arrived. Its `hash` is sha256's over them, None where they must be read again
    for it."""

    def __init__(self, identifier: str, repository: str, file: Path) -> None:
        self.id = identifier
        self.repository = repository
        self.file = file
        self.size = file.stat().st_size
        self.hash = None if self.size else hashlib.sha256()
        self.busy = False

    def write(self, out: BinaryIO, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[out.write(left) :]
        except OSError:
            self.hash = None
            raise
        finally:
            self.size = os.fstat(out.fileno()).st_size
        if self.hash is not None:
            self.hash.update(data)

    def digest(self, algorithm: str) -> str:
        """Computed of what is on the disk, which then is sure to be there after a power cut."""
        with self.file.open("rb") as file:
            os.fsync(file.fileno())
            if algorithm == "sha256" and self.hash is not None:
                return f"sha256:{self.hash.hexdigest()}"
            return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


class Uploads:
    """Called from the event loop's thread; files are written in others."""

    def __init__(self, root: Path, database: Database, store: Store) -> None:
        self._directory = root / "uploads"
        self._database = database
        self._store = store
        self._uploads: dict[str, Upload] = {}
        self._directory.mkdir(exist_ok=True)
        database.create_tables(SCHEMA)
        for identifier, repository in database.rows("SELECT id, repository FROM uploads"):
            file = self._directory / identifier
            if file.is_file():
                self._uploads[identifier] = Upload(identifier, repository, file)
            else:
                database.execute("DELETE FROM uploads WHERE id = ?", (identifier,))
        for file in self._directory.iterdir():
            if file.name not in self._uploads:
                file.unlink()
        self._remove_old()

    def begin(self, repository: str) -> Upload:
        """Raises Refused while too many are written to."""
        self._remove_old()
        identifier = secrets.token_hex(16)
        file = self._directory / identifier
        file.touch(0o600)
        self._database.execute("INSERT INTO uploads VALUES (?, ?)", (identifier, repository))
        upload = self._uploads[identifier] = Upload(identifier, repository, file)
        return upload

    def get(self, repository: str, identifier: str) -> Upload:
        """Raises Refused."""
        upload = self._uploads.get(identifier)
        if upload is None or upload.repository != repository:
            raise Refused("BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry", {"id": identifier})
        return upload

    @contextmanager
    def writing(self, upload: Upload) -> Iterator[None]:
        """One request at a time has an upload. Raises Refused."""
        if upload.busy:
            raise Refused("BLOB_UPLOAD_INVALID", "another request writes to this upload", status=409)
        upload.busy = True
        try:
            yield
        finally:
            upload.busy = False

    async def append(self, upload: Upload, body: ByteQueue) -> None:
        """Take a body to its end; what arrived of one that breaks off stays. Raises Refused, OSError,
        Disconnected."""
        with upload.file.open("ab", buffering=0) as out:
            gathered = bytearray()
            try:
                while chunk := await _read(body):
                    gathered += chunk
                    if upload.size + len(gathered) > BLOB_LIMIT:
                        raise Refused("SIZE_INVALID", f"a blob has {BLOB_LIMIT} bytes at most")
                    if len(gathered) >= _CHUNK:
                        data, gathered = bytes(gathered), bytearray()
                        await asyncio.to_thread(upload.write, out, data)
            finally:
                if gathered:
                    upload.write(out, bytes(gathered))

    async def finish(self, upload: Upload, digest: str) -> None:
        """Make a blob of what arrived. Raises Refused, and forgets the upload, if it has another digest."""
        found = await asyncio.to_thread(upload.digest, digest.partition(":")[0])
        if found != digest:
            self.cancel(upload)
            raise Refused(
                "DIGEST_INVALID",
                "provided digest did not match uploaded content",
                {"digest": digest, "computed": found},
            )
        with self._database.transaction():
            self._store.add_blob(upload.repository, digest, upload.size, upload.file)
            self._forget(upload)
        upload.file.unlink()

    def cancel(self, upload: Upload) -> None:
        self._forget(upload)
        upload.file.unlink(missing_ok=True)

    def _forget(self, upload: Upload) -> None:
        self._database.execute("DELETE FROM uploads WHERE id = ?", (upload.id,))
        self._uploads.pop(upload.id, None)

    def _remove_old(self) -> None:
        """Those that were left alone for too long, and, where there are too many, for longest."""
        touched_at = {
            upload.id: upload.file.stat().st_mtime for upload in self._uploads.values() if not upload.busy
        }
        # Times are those of the kernel's ticks; of two in one tick the first to be begun is the first to go.
        idle = sorted(((touched, each) for each, touched in touched_at.items()), key=lambda pair: pair[0])
        oldest = time.time() - KEPT_SECONDS
        for touched, identifier in idle:
            if touched < oldest or len(self._uploads) >= AT_ONCE:
                self.cancel(self._uploads[identifier])
        if len(self._uploads) >= AT_ONCE:
            raise Refused("TOOMANYREQUESTS", f"{AT_ONCE} uploads are written to")


async def _read(body: ByteQueue) -> bytes:
    try:
        async with asyncio.timeout(PATIENCE):
            return await body.read()
    except TimeoutError:
        raise Refused(
            "BLOB_UPLOAD_INVALID", f"nothing arrived for {PATIENCE:g} seconds", status=408
        ) from None
