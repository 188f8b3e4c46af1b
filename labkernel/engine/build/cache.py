"""The build cache: which image a step made of which parent, kept in the engine's database.

A step's key is the parent image and the command as history shows it: for RUN with the build arguments it
sees, for COPY and ADD with the hash of what is copied. So equal steps on equal images are found again,
whatever Dockerfile they stand in.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from labkernel.engine.database import Database
from labkernel.engine.errors import NotFound
from labkernel.engine.image.images import Image, Images

_SCHEMA = """
CREATE TABLE IF NOT EXISTS build_steps (
    parent TEXT NOT NULL,   -- image id, "" on scratch
    command TEXT NOT NULL,  -- JSON list of words
    image TEXT NOT NULL,    -- id of the image that the step made
    PRIMARY KEY (parent, command)
) WITHOUT ROWID;
"""


class BuildCache:
    def __init__(self, database: Database, images: Images) -> None:
        self._database = database
        self._images = images
        database.create_tables(_SCHEMA)

    def find(self, parent: str | None, command: Sequence[str]) -> Image | None:
        """The image that this command made of this parent, if it is still there."""
        key = (parent or "", json.dumps(list(command)))
        row = self._database.row("SELECT image FROM build_steps WHERE parent = ? AND command = ?", key)
        if row is None:
            return None
        try:
            return self._images.get(row["image"])
        except NotFound:
            self._database.execute("DELETE FROM build_steps WHERE parent = ? AND command = ?", key)
            return None

    def remember(self, parent: str | None, command: Sequence[str], image: Image) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO build_steps (parent, command, image) VALUES (?, ?, ?)",
            (parent or "", json.dumps(list(command)), image.id),
        )
