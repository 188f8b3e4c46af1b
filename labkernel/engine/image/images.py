"""Images: configurations on layers, with names.

`deletion` has the rules of `docker rmi`; `saving` and `loading` are `docker save` and `docker load`.
"""

from __future__ import annotations

import contextlib
import difflib
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from labkernel.engine.errors import InvalidParameter, NotFound
from labkernel.engine.image import config as image_config
from labkernel.engine.image import deletion, loading, saving
from labkernel.engine.image.changeset import Limit
from labkernel.engine.image.config import ImageConfig
from labkernel.engine.image.deletion import ImageUser, ImageUsers, Records
from labkernel.engine.image.layers import Layer
from labkernel.engine.image.platforms import parse_platform
from labkernel.engine.image.reference import Reference, is_digest, is_identifier, parse_reference
from labkernel.engine.image.store import Store
from labkernel.engine.image.tarwriter import Writer

__all__ = ["Image", "ImageUser", "ImageUsers", "Images"]

_HEXADECIMAL = set("0123456789abcdef")


@dataclass(frozen=True)
class Image:
    """A stored image. `config` is the whole configuration document (OCI image-spec, config.md); `parent` the
    image it was built on here, where that is known; `chain_id` its top layer, None for an image without
    layers; `size` bytes of file content in all layers; `created` Unix seconds, 0 if the configuration has no
    time."""

    id: str
    config: ImageConfig
    parent: str | None
    chain_id: str | None
    size: int
    created: int


#: Keeps an image from being deleted, and gives it back. Raises NotFound when it is gone already.
Hold = Callable[[Image], Image]

# Inside the class `list` is the method.
Json = dict[str, Any]
JsonList = list[dict[str, Any]]
ImageList = list[Image]
LayerList = list[Layer]
Strings = list[str]
References = list[Reference]

_TAGS = "SELECT reference FROM image_references WHERE reference NOT LIKE '%@%' ORDER BY reference"


class Images:
    """The images of a store. Methods may be called from several threads."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._database = store.database
        self._held: Counter[str] = Counter()

    # --- finding

    def get(self, image_id: str) -> Image:
        """By whole id, `sha256:...`. Raises NotFound."""
        row = self._database.row("SELECT * FROM images WHERE id = ?", (image_id,))
        if row is None:
            raise NotFound(f"No such image: {image_id}")
        return _image(row)

    def has(self, image_id: str) -> bool:
        return self._database.row("SELECT 1 FROM images WHERE id = ?", (image_id,)) is not None

    def serialised(self, image_id: str) -> bytes:
        """The configuration's bytes, whose digest is the id. Raises NotFound."""
        row = self._database.row("SELECT config FROM images WHERE id = ?", (image_id,))
        if row is None:
            raise NotFound(f"No such image: {image_id}")
        data: bytes = row["config"]
        return data

    def resolve(self, name: str) -> Image:
        """By reference, id, or the start of an id, in Docker's order. Raises NotFound with the nearest names
        as the hint, InvalidParameter for what is no name."""
        if is_identifier(name) or is_digest(name):
            full = name if name.startswith("sha256:") else f"sha256:{name}"
            row = self._database.row("SELECT * FROM images WHERE id = ?", (full,))
            if row is None:
                raise NotFound(f"No such image: {full}")
            return _image(row)
        reference = parse_reference(name).with_default_tag()
        row = self._database.row(
            "SELECT images.* FROM images JOIN image_references ON image = id WHERE reference = ?",
            (_key(reference),),
        ) or self._by_prefix(name)
        if row is None:
            raise NotFound(f"No such image: {reference.familiar}", hint=self._nearest(reference))
        return _image(row)

    def _by_prefix(self, name: str) -> sqlite3.Row | None:
        digits = name.removeprefix("sha256:")
        if not digits or not set(digits) <= _HEXADECIMAL:
            return None
        prefix = f"sha256:{digits}"
        rows = self._database.rows(
            "SELECT * FROM images WHERE substr(id, 1, ?) = ? LIMIT 2", (len(prefix), prefix)
        )
        return rows[0] if len(rows) == 1 else None

    def _nearest(self, reference: Reference) -> str | None:
        known = [parse_reference(row[0]).familiar for row in self._database.rows(_TAGS)]
        nearest = difflib.get_close_matches(reference.familiar, known, n=3)
        same_repository = [name for name in known if parse_reference(name).name == reference.name]
        found = list(dict.fromkeys([*same_repository, *nearest]))[:3]
        return f"did you mean {' or '.join(found)}?" if found else None

    def references(self, image_id: str) -> References:
        """The names of an image, tags and digests, sorted."""
        rows = self._database.rows(
            "SELECT reference FROM image_references WHERE image = ? ORDER BY reference", (image_id,)
        )
        return [parse_reference(row[0]) for row in rows]

    def tags(self, repository_name: str) -> References:
        """All tags of a repository (`docker.io/library/busybox`), sorted."""
        found = (parse_reference(row[0]) for row in self._database.rows(_TAGS))
        return [reference for reference in found if reference.name == repository_name]

    def lineage(self, names: Iterable[str]) -> frozenset[str]:
        """The ids of these images and of all that they were built on here; unknown names are passed over."""
        found: set[str] = set()
        for name in names:
            image: Image | None = None
            with contextlib.suppress(NotFound, InvalidParameter):
                image = self.resolve(name)
            while image is not None and image.id not in found:
                found.add(image.id)
                image = self._parent(image)
        return frozenset(found)

    def children(self, image_id: str) -> ImageList:
        """The images that were built on this one here."""
        return [
            _image(row) for row in self._database.rows("SELECT * FROM images WHERE parent = ?", (image_id,))
        ]

    def list(self, *, all: bool = False) -> ImageList:
        """Images, newest first; without `all`, not those that have no name and are another's parent (the
        steps of a build)."""
        rows = self._database.rows(
            "SELECT * FROM images i WHERE ? OR EXISTS (SELECT 1 FROM image_references WHERE image = i.id)"
            " OR NOT EXISTS (SELECT 1 FROM images c WHERE c.parent = i.id) ORDER BY created DESC, id",
            (all,),
        )
        return [_image(row) for row in rows]

    # --- making

    def create(
        self,
        config: ImageConfig | bytes,
        *,
        parent: str | None = None,
        reference: Reference | None = None,
    ) -> Image:
        """Store an image of a configuration whose layers are stored. Bytes are kept as they are, and their
        digest is the id; a dict is serialised first. `parent` is remembered, `reference` becomes a name of
        the image.

        Raises InvalidParameter for a bad configuration, NotFound if a layer is missing.
        """
        data = config if isinstance(config, bytes) else image_config.serialise(config)
        document = image_config.parse(data)
        image_id = image_config.digest(data)
        chain = image_config.chain_ids(image_config.diff_ids(document))
        top = chain[-1] if chain else None
        # A layer may not go while the image is being made.
        if top is not None and not self.store.layers.want(top):
            raise NotFound(f"layer does not exist: {top}")
        size = sum(layer.size for layer in self.store.layers.chain(top))
        created = image_config.seconds(document.get("created"))
        with self._database.transaction():
            self._database.execute(
                "INSERT OR IGNORE INTO images VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)",
                (image_id, data, parent, top, size, created),
            )
            if parent is not None:
                self._database.execute("UPDATE images SET parent = ? WHERE id = ?", (parent, image_id))
            if reference is not None:
                self.tag(image_id, reference)
        self.store.layers.settle(chain)
        return self.get(image_id)

    def tag(self, image_id: str, reference: Reference) -> str | None:
        """Give an image a name; the id of the image that had it before, if another, is returned.

        A reference with a digest records where the image was pulled from (RepoDigests). Raises NotFound.
        """
        reference = reference.with_default_tag()
        with self._database.transaction():
            self.get(image_id)
            row = self._database.row(
                "SELECT image FROM image_references WHERE reference = ?", (_key(reference),)
            )
            self._database.execute("REPLACE INTO image_references VALUES (?, ?)", (_key(reference), image_id))
            if reference.digest is None:
                self._database.execute(
                    "UPDATE images SET tagged = ? WHERE id = ?", (image_config.timestamp(), image_id)
                )
        return row["image"] if row is not None and row["image"] != image_id else None

    def untag(self, reference: Reference) -> None:
        """Take a name away; the image stays, even without any. Raises NotFound."""
        reference = reference.with_default_tag()
        gone = self._database.execute("DELETE FROM image_references WHERE reference = ?", (_key(reference),))
        if gone.rowcount == 0:
            raise NotFound(f"No such image: {reference.familiar}")

    def delete(self, name: str, users: ImageUsers, *, force: bool = False, prune: bool = True) -> Records:
        """Untag or delete by Docker's rules (`deletion`). Raises NotFound, Conflict."""
        return deletion.delete(self, name, users, force=force, prune=prune)

    @contextmanager
    def holding(self) -> Iterator[Hold]:
        """Within it images can be held: they are there until its end, whoever prunes."""
        held: Strings = []

        def hold(image: Image) -> Image:
            with self._database.transaction():
                if not self.has(image.id):
                    raise NotFound(f"No such image: {image.id}")
                self._held[image.id] += 1
                held.append(image.id)
            return image

        try:
            yield hold
        finally:
            with self._database.transaction():
                self._held -= Counter(held)

    def is_held(self, image_id: str) -> bool:
        return self._held[image_id] > 0

    def forget(self, image_id: str) -> Strings:
        """Remove an image and its names, and the layers that only it had; gives the chain_ids of those. The
        rules for doing so are `deletion`'s. Raises Conflict for one that is held."""
        with self._database.transaction(freeing=True):
            if self.is_held(image_id):
                raise deletion.held(image_id)
            self._database.execute("DELETE FROM images WHERE id = ?", (image_id,))
        return self.store.layers.collect()

    def import_tar(
        self,
        tar: BinaryIO,
        *,
        reference: Reference | None = None,
        config: dict[str, Any] | None = None,
        message: str = "",
        platform: str = "",
        limit: Limit | None = None,
    ) -> Image:
        """An image with one layer, a root file system from an archive (`docker import`). `config` is the
        configuration's `config`, to which the caller has applied the changes asked for; `platform`, if it is
        another than this machine's, like `linux/arm64`. Raises InvalidParameter."""
        wanted = parse_platform(platform)
        layer = self.store.layers.unpack(tar, None, limit=limit)
        created = image_config.timestamp()
        document = image_config.new_config(
            config=config,
            diff_ids=[layer.diff_id],
            history=[image_config.history_entry("", created=created, comment=message)],
            created=created,
            os=wanted.os,
            architecture_name=wanted.architecture if platform else None,
        )
        if platform and wanted.variant:
            document["variant"] = wanted.variant
        return self.create(document, reference=reference)

    def save(self, names: Sequence[str], out: Writer) -> None:
        """Write images as one archive, an OCI image layout that is a `docker save` archive too
        (`saving`)."""
        saving.save(self, names, out)

    def load(self, tar: BinaryIO, *, limit: Limit | None = None) -> Strings:
        """Store the images of an archive, plain or compressed: what `docker save` or an OCI tool wrote
        (`loading`). Gives the lines that `docker load` prints."""
        return loading.load(self, tar, limit=limit)

    # --- describing

    def layers(self, image: Image) -> LayerList:
        """The image's layers, base first."""
        return self.store.layers.chain(image.chain_id)[::-1]

    def history(self, image: Image) -> JsonList:
        """The API's HistoryResponseItem objects, newest first. Steps of images that are not here are
        `<missing>`."""
        sizes = [layer.size for layer in self.layers(image)]
        items: JsonList = []
        for step in image.config.get("history") or []:
            size = 0 if step.get("empty_layer") or not sizes else sizes.pop(0)
            items.append(
                {
                    "Id": "<missing>",
                    "Created": image_config.seconds(step.get("created")),
                    "CreatedBy": step.get("created_by", ""),
                    "Tags": None,
                    "Size": size,
                    "Comment": step.get("comment", ""),
                }
            )
        items.reverse()
        ancestor: Image | None = image
        for item in items:
            if ancestor is None:
                break
            item["Id"] = ancestor.id
            item["Tags"] = [name.familiar for name in self.references(ancestor.id) if not name.digest] or None
            ancestor = self._parent(ancestor)
        return items

    def _parent(self, image: Image) -> Image | None:
        row = self._database.row("SELECT * FROM images WHERE id = ?", (image.parent,))
        return _image(row) if row is not None else None

    def summary(self, image: Image, *, shared_size: bool = False, containers: int = -1) -> Json:
        """The API's ImageSummary; -1 where a figure was not asked for."""
        names = self.references(image.id)
        return {
            "Containers": containers,
            "Created": image.created,
            "Id": image.id,
            "Labels": (image.config.get("config") or {}).get("Labels"),
            "ParentId": image.parent or "",
            "RepoDigests": [name.familiar for name in names if name.digest],
            "RepoTags": [name.familiar for name in names if not name.digest],
            "SharedSize": self._shared_size(image) if shared_size else -1,
            "Size": image.size,
        }

    def _shared_size(self, image: Image) -> int:
        """Bytes in layers that another image has too."""
        others = (other for other in self.list(all=True) if other.id != image.id)
        shared = {layer.chain_id for other in others for layer in self.layers(other)}
        return sum(layer.size for layer in self.layers(image) if layer.chain_id in shared)

    def inspect(self, image: Image) -> Json:
        """The API's ImageInspect."""
        names = self.references(image.id)
        document = image.config
        row = self._database.row("SELECT tagged FROM images WHERE id = ?", (image.id,))
        directories = [str(path) for path in self.store.layers.directories(image.chain_id)]
        driver_data = {"LowerDir": ":".join(directories[1:])} if directories[1:] else {}
        if directories:
            driver_data["UpperDir"] = directories[0]
        described = {
            "Id": image.id,
            "RepoTags": [name.familiar for name in names if not name.digest],
            "RepoDigests": [name.familiar for name in names if name.digest],
            "Parent": image.parent or "",
            "Comment": _last_comment(document),
            "Created": document.get("created") or "0001-01-01T00:00:00Z",
            "Container": document.get("container", ""),
            "ContainerConfig": {**image_config.CONTAINER_CONFIG, **(document.get("container_config") or {})},
            "DockerVersion": document.get("docker_version", ""),
            "Author": document.get("author", ""),
            "Config": {**image_config.CONTAINER_CONFIG, **(document.get("config") or {})},
            "Architecture": document.get("architecture", ""),
            "Os": document.get("os", ""),
            "Size": image.size,
            "VirtualSize": image.size,
            "GraphDriver": {"Name": "overlay2", "Data": driver_data},
            "RootFS": {"Type": "layers", "Layers": image_config.diff_ids(document)},
            "Metadata": {"LastTagTime": (row["tagged"] if row else None) or "0001-01-01T00:00:00Z"},
        }
        if document.get("variant"):
            described["Variant"] = document["variant"]
        return described

    def disk_usage(self, containers: Callable[[str], int]) -> Json:
        """The images' part of `GET /system/df`: `containers` tells how many containers use an image."""
        summaries = [
            self.summary(image, shared_size=True, containers=containers(image.id)) for image in self.list()
        ]
        return {"LayersSize": self.layers_size(), "Images": summaries}

    def layers_size(self) -> int:
        """Bytes of file content in all layers of the store."""
        row = self._database.row("SELECT coalesce(sum(size), 0) FROM layers")
        return row[0] if row else 0


def _image(row: sqlite3.Row) -> Image:
    return Image(
        id=row["id"],
        config=image_config.parse(row["config"]),
        parent=row["parent"],
        chain_id=row["chain_id"],
        size=row["size"],
        created=row["created"],
    )


def _key(reference: Reference) -> str:
    """A name with both a tag and a digest is known by its digest alone, as in Docker."""
    return replace(reference, tag=None).canonical if reference.digest else reference.canonical


def _last_comment(document: ImageConfig) -> str:
    """Docker shows the document's own `comment`, or else that of the last step."""
    history = document.get("history") or [{}]
    comment: str = document.get("comment") or history[-1].get("comment", "")
    return comment
