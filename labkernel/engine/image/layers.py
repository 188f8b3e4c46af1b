"""Layers: directories that overlayfs stacks, each known by its chain_id (image-spec, config.md).

A directory becomes a layer by rename, and its tar is hashed but not stored: `pack` writes the same bytes
again. A layer that came as an archive which `pack` would not reproduce keeps that archive as a blob.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import zstandard

from labkernel.engine.database import Database
from labkernel.engine.errors import InvalidParameter, NotFound, System
from labkernel.engine.image import config
from labkernel.engine.image.blobs import Blobs, Descriptor
from labkernel.engine.image.changes import Change as Change
from labkernel.engine.image.changes import diff
from labkernel.engine.image.changeset import Limit, extract_tar
from labkernel.engine.image.compression import decompressed
from labkernel.engine.image.hashing import HashingReader, HashingWriter
from labkernel.engine.image.tarformat import Reader
from labkernel.engine.image.tarwriter import Writer, write_tar
from labkernel.engine.image.whiteouts import Overlay
from labkernel.engine.linux import trees

SCHEMA = """
CREATE TABLE IF NOT EXISTS layers (
    chain_id TEXT PRIMARY KEY,
    diff_id TEXT NOT NULL,
    parent TEXT REFERENCES layers (chain_id),
    name TEXT NOT NULL UNIQUE,           -- of its directory below layers/
    size INTEGER NOT NULL,               -- bytes of file content
    tar_size INTEGER NOT NULL,           -- bytes of the archive whose digest is diff_id
    blob TEXT,                           -- digest of the archive as it came, where it is kept
    blob_size INTEGER,
    media_type TEXT,
    lower TEXT                           -- root of the lower store that has it, of which this is a link
);
CREATE INDEX IF NOT EXISTS layers_parent ON layers (parent);
CREATE TABLE IF NOT EXISTS layer_holds (
    holder TEXT NOT NULL,
    chain_id TEXT NOT NULL REFERENCES layers (chain_id),
    PRIMARY KEY (holder, chain_id)
);
"""

_AN_IMAGE_HAS = "SELECT 1 FROM images WHERE chain_id = ?"
_TOPS = "SELECT * FROM layers l WHERE NOT EXISTS (SELECT 1 FROM layers c WHERE c.parent = l.chain_id)"

_CHUNK = 1 << 20
ZSTD_LAYER = "application/vnd.oci.image.layer.v1.tar+zstd"
PLAIN_LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True)
class Layer:
    """A stored layer. `size`: bytes of file content; `tar_size`: of the plain archive that diff_id is the
    digest of."""

    chain_id: str
    diff_id: str
    parent: str | None
    directory: Path
    size: int
    tar_size: int
    blob: Descriptor | None = None


class StoredBlob(NamedTuple):
    """An archive in a file on the layers' file system, whose digest has been checked."""

    file: Path
    descriptor: Descriptor


class Layers:
    """The layers of a store. Methods may be called from several threads."""

    def __init__(
        self,
        directory: Path,
        temporary: Callable[[], Path],
        database: Database,
        blobs: Blobs,
        overlay: Overlay,
        keep_ownership: bool,
    ) -> None:
        self.directory = directory
        self._temporary = temporary
        self._database = database
        self._blobs = blobs
        self._overlay = overlay
        self.keep_ownership = keep_ownership
        # The database's transaction is the lock of all this too: with one lock no two can be taken crosswise.
        self._last_name = max((int(name) for name in os.listdir(directory) if name.isdigit()), default=0)
        # Layers that belong to no image yet: kept until one is made of them, or until the next open.
        self._fresh: set[str] = set()

    # --- finding

    def get(self, chain_id: str) -> Layer:
        """Raises NotFound."""
        row = self._database.row("SELECT * FROM layers WHERE chain_id = ?", (chain_id,))
        if row is None:
            raise NotFound(f"layer does not exist: {chain_id}")
        blob = Descriptor(row["media_type"], row["blob"], row["blob_size"]) if row["blob"] else None
        return Layer(
            chain_id=row["chain_id"],
            diff_id=row["diff_id"],
            parent=row["parent"],
            directory=self.directory / row["name"],
            size=row["size"],
            tar_size=row["tar_size"],
            blob=blob,
        )

    def has(self, chain_id: str) -> bool:
        return self._database.row("SELECT 1 FROM layers WHERE chain_id = ?", (chain_id,)) is not None

    def chain(self, chain_id: str | None) -> list[Layer]:
        """A layer and all below it, top first; [] for None. Raises NotFound."""
        found: list[Layer] = []
        while chain_id is not None:
            found.append(self.get(chain_id))
            chain_id = found[-1].parent
        return found

    def directories(self, chain_id: str | None) -> list[Path]:
        """The directories of a layer and all below it, top first, as overlayfs's lowerdir wants them.

        All lie in `directory`, with short names: mount(2) takes one page of options, so mount from there with
        relative names. A layer of a lower store is a symbolic link. Raises NotFound.
        """
        return [layer.directory for layer in self.chain(chain_id)]

    # --- making

    def adopt(self, upper: Path, parent: str | None, *, newest: int | None = None) -> Layer:
        """Make a layer of overlayfs's upper directory (or any directory on the same file system), by rename.

        `newest` (Unix seconds, SOURCE_DATE_EPOCH) is the latest time of change that files keep. If the
        layer is stored already the directory is removed. Raises NotFound for an unknown parent, System.
        """
        self._require(parent)
        size, measured = self._measure(upper, newest)
        return self._insert(upper, measured.digest, parent, size, measured.size, None)

    def capture(self, upper: Path, parent: str | None) -> Layer:
        """As `adopt`, with a copy of the directory, which stays in use: `docker commit`."""
        self._require(parent)
        with self._place() as place:
            size, packed = copy_tree(upper, place, overlay=self._overlay, keep_ownership=self.keep_ownership)
            return self._insert(place, packed.digest, parent, size, packed.size, None)

    def unpack(
        self,
        tar: BinaryIO,
        parent: str | None,
        *,
        expected_diff_id: str | None = None,
        blob: StoredBlob | None = None,
        limit: Limit | None = None,
    ) -> Layer:
        """Make a layer of an archive, plain or compressed; OCI whiteouts become overlayfs's.

        Without `expected_diff_id` the layer's diff_id is that of the archive `pack` makes of it. With it, the
        archive's own digest must be that (InvalidParameter otherwise). `blob` is the file that the archive
        is read from, if it is to be kept; without it, an archive that `pack` would not give again is kept
        all the same, by reading `tar` a second time, which then must be seekable. `limit` as in
        `extract_tar`. Raises InvalidParameter for a bad archive; nothing is left of it then.
        """
        self._require(parent)
        start = tar.tell() if expected_diff_id is not None and blob is None else 0
        with self._place() as place, self._place() as blob_place:
            source = HashingReader(decompressed(tar))
            extracted = extract_tar(
                source,
                place,
                overlay=self._overlay,
                lower=self.directories(parent),
                keep_ownership=self.keep_ownership,
                limit=limit,
            )
            if expected_diff_id is None:
                return self.adopt(place, parent)
            if source.digest != expected_diff_id:
                raise InvalidParameter(
                    f'invalid diffID for layer: expected "{expected_diff_id}", got "{source.digest}"'
                )
            if blob is None and self._measure(place, None)[1].digest != expected_diff_id:
                tar.seek(start)
                blob = _compressed(decompressed(tar), blob_place / "blob")
            return self._insert(place, expected_diff_id, parent, extracted.size, source.size, blob)

    def _measure(self, directory: Path, newest: int | None) -> tuple[int, HashingWriter]:
        measured = HashingWriter()
        try:
            size = write_tar(
                directory, "/", measured, name="", overlay=self._overlay, newest=newest, share_opaque=True
            )
        except OSError as error:
            raise System(f"failed to read {directory.name}: {error.strerror}") from error
        return size, measured

    def _insert(
        self,
        directory: Path,
        diff_id: str,
        parent: str | None,
        size: int,
        tar_size: int,
        blob: StoredBlob | None,
    ) -> Layer:
        """The directory first, the row last: a crash between the two leaves what the next open removes."""
        chain_id = config.chain_id(parent, diff_id)
        media_type, digest, blob_size = blob.descriptor if blob else (None, None, None)
        with self._database.transaction():
            self._fresh.add(chain_id)
            if not self.has(chain_id):
                self._last_name += 1
                name = str(self._last_name)
                try:
                    os.rename(directory, self.directory / name)
                except OSError as error:
                    if error.errno == errno.EXDEV:
                        raise System(f"{directory} is not on the file system of the layers") from error
                    raise
                if blob is not None:
                    self._blobs.keep(blob.file, blob.descriptor.digest)
                self._database.execute(
                    "INSERT INTO layers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                    (chain_id, diff_id, parent, name, size, tar_size, digest, blob_size, media_type),
                )
        trees.remove(directory)
        return self.get(chain_id)

    def _require(self, chain_id: str | None) -> None:
        if chain_id is not None and not self.has(chain_id):
            raise NotFound(f"layer does not exist: {chain_id}")

    @contextmanager
    def _place(self) -> Iterator[Path]:
        place = self._temporary()
        try:
            yield place
        finally:
            trees.remove(place)

    # --- reading

    def pack(self, layer: Layer, out: Writer) -> None:
        """Write the layer's plain tar, whose digest is its diff_id. Raises System if the layer was tampered
        with, after what was written by then."""
        hashed = HashingWriter(out)
        if layer.blob is not None:
            with self._blobs.open(layer.blob.digest) as file:
                plain = decompressed(file)
                while data := plain.read(_CHUNK):
                    hashed.write(data)
        else:
            write_tar(layer.directory, "/", hashed, name="", overlay=self._overlay)
        if hashed.digest != layer.diff_id:
            raise System(f"layer {layer.diff_id} was changed on disk: its files give {hashed.digest}")

    def diff(self, upper: Path, parent: str | None) -> list[Change]:
        """What an upper directory changes over the layers below it, in the order of paths (`docker diff`)."""
        return diff(upper, self.directories(parent), self._overlay)

    # --- keeping and removing

    def hold(self, chain_id: str, holder: str) -> None:
        """Keep a layer and all below it, over restarts, until the holder (a container's id) releases it."""
        with self._database.transaction():
            self._require(chain_id)
            self._database.execute("INSERT OR IGNORE INTO layer_holds VALUES (?, ?)", (holder, chain_id))

    def release(self, holder: str) -> bool:
        """End a holder's claims; whether there may be layers now that `collect` would remove."""
        with self._database.transaction(freeing=True):
            held = self._database.rows("SELECT chain_id FROM layer_holds WHERE holder = ?", (holder,))
            self._database.execute("DELETE FROM layer_holds WHERE holder = ?", (holder,))
            # Mostly the image is still there, and nothing else has to be looked at.
            return any(self._database.row(_AN_IMAGE_HAS, tuple(row)) is None for row in held)

    def keep_holds(self, holders: Iterable[str]) -> None:
        """End all claims but those of these holders: an engine was killed while it made or removed one."""
        known = set(holders)
        for row in self._database.rows("SELECT DISTINCT holder FROM layer_holds"):
            if row["holder"] not in known:
                self.release(row["holder"])

    def want(self, chain_id: str) -> bool:
        """Whether a layer is stored; if so it stays until an image is made of it, or until the next open."""
        with self._database.transaction():
            if not self.has(chain_id):
                return False
            self._fresh.add(chain_id)
            return True

    def settle(self, chain_ids: Iterable[str]) -> None:
        """The layers belong to an image now, or are not wanted after all."""
        with self._database.transaction():
            self._fresh.difference_update(chain_ids)

    def collect(self) -> list[str]:
        """Remove layers that no image, holder or unfinished image needs. Gives their chain_ids, top first."""
        removed: list[tuple[str, str]] = []
        blobs: set[str] = set()
        with self._database.transaction(freeing=True):
            wanted = set(self._fresh)
            wanted.update(row[0] for row in self._database.rows("SELECT chain_id FROM images"))
            wanted.update(row[0] for row in self._database.rows("SELECT chain_id FROM layer_holds"))
            while rows := [row for row in self._database.rows(_TOPS) if row["chain_id"] not in wanted]:
                for row in rows:
                    self._database.execute("DELETE FROM layers WHERE chain_id = ?", (row["chain_id"],))
                    removed.append((row["chain_id"], row["name"]))
                    if row["blob"]:
                        blobs.add(row["blob"])
            blobs -= {row[0] for row in self._database.rows("SELECT blob FROM layers WHERE blob IS NOT NULL")}
            for digest in blobs:
                self._blobs.remove(digest)
        for _, name in removed:
            self.remove_directory(name)
        return [chain_id for chain_id, _ in removed]

    def link(self, row: sqlite3.Row, root: Path) -> None:
        """Make a layer of a lower store known here, or follow it to where it is now."""
        known = self._database.row("SELECT name, lower FROM layers WHERE chain_id = ?", (row["chain_id"],))
        if known is not None and known["lower"] is None:
            return
        if known is None:
            self._last_name += 1
            name = str(self._last_name)
            self._database.execute(
                "INSERT INTO layers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (row["chain_id"], row["diff_id"], row["parent"], name, *tuple(row)[4:9], str(root)),
            )
        else:
            name = known["name"]
            self._database.execute(
                "UPDATE layers SET lower = ? WHERE chain_id = ?", (str(root), row["chain_id"])
            )
        links = [(self.directory / name, root / "layers" / row["name"])]
        if row["blob"] and not self._blobs.has(row["blob"]):
            links.append((self._blobs.path(row["blob"]), root / "blobs" / "sha256" / row["blob"][7:]))
        for link, target in links:
            link.unlink(missing_ok=True)
            link.symlink_to(target)

    def remove_directory(self, name: str) -> None:
        """Remove a directory below `layers/`, or the link that stands for one of a lower store."""
        path = self.directory / name
        if path.is_symlink():
            path.unlink()
        else:
            trees.remove(path)


def _compressed(plain: Reader, file: Path) -> StoredBlob:
    """Write an archive that `pack` could not make again, compressed."""
    with file.open("wb") as out:
        hashed = HashingWriter(out)
        compressor = zstandard.ZstdCompressor(level=3)
        with compressor.stream_writer(hashed, closefd=False) as writer:  # type: ignore[arg-type]
            while data := plain.read(_CHUNK):
                writer.write(data)
    return StoredBlob(file, Descriptor(ZSTD_LAYER, hashed.digest, hashed.size))


def copy_tree(
    source: Path, target: Path, *, overlay: Overlay, keep_ownership: bool
) -> tuple[int, HashingWriter]:
    """Copy a directory's content with whiteouts, links and attributes: packed at one end of a pipe, unpacked
    at the other. Gives the bytes of content, and the archive's size and digest. Raises System."""
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _CHUNK)
    out = os.fdopen(write_end, "wb")
    hashed = HashingWriter(out)
    failures: list[BaseException] = []
    sizes: list[int] = []

    def pack() -> None:
        try:
            with out:
                sizes.append(write_tar(source, "/", hashed, name="", overlay=overlay))
        except BrokenPipeError:
            pass  # The other end has failed, and says why.
        except BaseException as error:
            failures.append(error)

    packer = threading.Thread(target=pack, name="copy_tree")
    packer.start()
    try:
        with os.fdopen(read_end, "rb", _CHUNK) as tar:
            extract_tar(tar, target, overlay=overlay, keep_ownership=keep_ownership)
    finally:
        packer.join()
        for failure in failures:
            raise failure
    return sizes[0], hashed
