"""The image store: a directory, and the tables of the engine's database that describe it.

    blobs/sha256/   archives of layers, kept as they came
    layers/         one directory for each layer, with a short name
    tmp/            what is being made; emptied when the store is opened

One process at a time may have a store open. Whatever moment it is killed at, the next open finds what was
whole.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from labkernel.engine.database import Database
from labkernel.engine.image import layers
from labkernel.engine.image.blobs import Blobs
from labkernel.engine.image.layers import Layers
from labkernel.engine.image.whiteouts import Overlay
from labkernel.engine.linux import trees

_IMAGES_SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    id TEXT PRIMARY KEY,
    config BLOB NOT NULL,                -- the bytes whose digest is the id
    parent TEXT,                         -- the image it was built on here, if it is known
    chain_id TEXT REFERENCES layers (chain_id),
    size INTEGER NOT NULL,
    created INTEGER NOT NULL,            -- Unix seconds
    tagged TEXT,                         -- when it last got a tag (RFC 3339)
    lower TEXT                           -- root of the lower store that has it
);
CREATE TABLE IF NOT EXISTS image_references (
    reference TEXT PRIMARY KEY,          -- docker.io/library/busybox:latest, or ...@sha256:...
    image TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS images_parent ON images (parent);
CREATE INDEX IF NOT EXISTS images_chain_id ON images (chain_id);
CREATE INDEX IF NOT EXISTS image_references_image ON image_references (image);
"""

# A layer and all that stand on it, in an order in which each comes after the one it stands on.
_ABOVE = """
WITH RECURSIVE above (chain_id) AS (
    VALUES (?) UNION SELECT layers.chain_id FROM layers, above WHERE layers.parent = above.chain_id
) SELECT chain_id FROM above
"""


@dataclass(frozen=True)
class LowerStore:
    """Another engine's image store, read and never written: its root and its database file.

    Of its images those that have one of `names` (references as they are stored), and what these were built
    on; all of them without.
    """

    root: Path
    database: Path
    names: frozenset[str] | None = None


class Store:
    """`userxattr`: overlays are mounted with that option, as in a user namespace. Without `keep_ownership`
    files of unpacked archives all become the caller's, as a user with a single id needs. `lower`: stores
    whose images appear in this one at no copying; deleting one here lasts until the next open.

    `lost` names images that were dropped on opening because their layers' directories are gone.
    """

    def __init__(
        self,
        root: Path,
        database: Database,
        *,
        lower: Sequence[LowerStore] = (),
        userxattr: bool = False,
        keep_ownership: bool = True,
    ) -> None:
        self.root = root
        self.database = database
        self.overlay = Overlay(userxattr=userxattr)
        self.keep_ownership = keep_ownership
        self.lost: list[str] = []
        self._temporary_directory = root / "tmp"
        for directory in ("blobs/sha256", "layers", "tmp"):
            (root / directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        database.create_tables(layers.SCHEMA + _IMAGES_SCHEMA)
        self.blobs = Blobs(root / "blobs" / "sha256")
        self.layers = Layers(
            root / "layers", self._new_temporary, database, self.blobs, self.overlay, keep_ownership
        )
        for store in lower:
            self._link(store)
        self._repair()

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        """An empty directory on the layers' file system, removed at the end and at the next open."""
        place = self._new_temporary()
        try:
            yield place
        finally:
            trees.remove(place)

    def _new_temporary(self) -> Path:
        place = Path(tempfile.mkdtemp(dir=self._temporary_directory))
        # It may become a layer: the root directory of a container's file system.
        place.chmod(0o755)
        return place

    # --- opening

    def _repair(self) -> None:
        """Remove what a killed engine left half made, and what has lost its directory."""
        for name in os.listdir(self._temporary_directory):
            _remove(self._temporary_directory / name)
        self._drop_lost()
        self.layers.collect()
        names = {row[0] for row in self.database.rows("SELECT name FROM layers")}
        for name in set(os.listdir(self.layers.directory)) - names:
            self.layers.remove_directory(name)
        kept = {row[0] for row in self.database.rows("SELECT blob FROM layers WHERE blob IS NOT NULL")}
        for digest in set(self.blobs.digests()) - kept:
            self.blobs.remove(digest)

    def _drop_lost(self) -> None:
        lost = [
            row["chain_id"]
            for row in self.database.rows("SELECT chain_id, name FROM layers")
            if not (self.layers.directory / row["name"]).is_dir()
        ]
        with self.database.transaction():
            for chain_id in lost:
                for above in reversed(self.database.rows(_ABOVE, (chain_id,))):
                    for image in self.database.rows("SELECT id FROM images WHERE chain_id = ?", tuple(above)):
                        self.lost.append(image["id"])
                        self.database.execute("DELETE FROM images WHERE id = ?", (image["id"],))
                    self.database.execute("DELETE FROM layer_holds WHERE chain_id = ?", tuple(above))
                    self.database.execute("DELETE FROM layers WHERE chain_id = ?", tuple(above))

    def _link(self, store: LowerStore) -> None:
        """Make a lower store's layers, images and names known here; layers become symbolic links."""
        with self.temporary() as place:
            # A copy is read: opening a database in WAL mode writes beside it, and its engine may be running.
            for suffix in ("", "-wal"):
                with suppress(FileNotFoundError):
                    shutil.copyfile(f"{store.database}{suffix}", place / f"database{suffix}")
            source = sqlite3.connect(place / "database")
            source.row_factory = sqlite3.Row
            try:
                with self.database.transaction():
                    references, images, linked = _visible(source, store.names)
                    for row in linked:
                        self.layers.link(row, store.root)
                    for row in images:
                        self.database.execute(
                            "INSERT OR IGNORE INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                            (*tuple(row)[:7], str(store.root)),
                        )
                    for row in references:
                        self.database.execute(
                            "INSERT OR IGNORE INTO image_references VALUES (?, ?)", tuple(row)
                        )
            finally:
                source.close()


_Rows = list[sqlite3.Row]


def _visible(source: sqlite3.Connection, names: frozenset[str] | None) -> tuple[_Rows, _Rows, _Rows]:
    """What is to be seen of a lower store: references, images, and layers after those they stand on."""
    references = source.execute("SELECT * FROM image_references").fetchall()
    images = source.execute("SELECT * FROM images").fetchall()
    linked = source.execute("SELECT * FROM layers ORDER BY rowid").fetchall()
    if names is None:
        return references, images, linked
    references = [row for row in references if row["reference"] in names]
    kept = _closed({row["image"] for row in references}, {row["id"]: row["parent"] for row in images})
    images = [row for row in images if row["id"] in kept]
    below = {row["chain_id"]: row["parent"] for row in linked}
    chains = _closed({row["chain_id"] for row in images if row["chain_id"]}, below)
    return references, images, [row for row in linked if row["chain_id"] in chains]


def _closed(found: set[str], parents: dict[str, str | None]) -> set[str]:
    """`found` and all that these stand on."""
    for start in list(found):
        above = parents.get(start)
        while above is not None and above not in found:
            found.add(above)
            above = parents.get(above)
    return found


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        trees.remove(path)
    else:
        path.unlink()
