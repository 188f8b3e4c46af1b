"""The archives that `docker load` reads.

What `docker save` wrote, in its old form (`<id>/layer.tar`) and its new one, or an OCI image layout as
skopeo, podman and buildkit write it; plain or compressed.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeGuard, cast

from labkernel.engine.distribution import manifests
from labkernel.engine.errors import InvalidParameter
from labkernel.engine.image import config as image_config
from labkernel.engine.image.changeset import Limit
from labkernel.engine.image.compression import decompressed, detect
from labkernel.engine.image.platforms import own_platform
from labkernel.engine.image.reference import Reference, parse_reference
from labkernel.engine.image.saving import CONFIG, IMAGE_NAME, REF_NAME, blob_path
from labkernel.engine.image.tarformat import HARD_LINK, REGULAR, SYMLINK, TarReader

if TYPE_CHECKING:
    from labkernel.engine.image.images import Images

_JSON_LIMIT = 8 << 20
_LINK_LIMIT = 16


class _ArchivedImage(NamedTuple):
    """An image in an archive: its configuration, its layers' members in the archive, its names."""

    config: bytes
    layers: list[str]
    references: list[Reference]


def load(images: Images, tar: BinaryIO, *, limit: Limit | None = None) -> list[str]:
    """Store the images of an archive and give the lines `docker load` prints. Raises InvalidParameter;
    images that came before the damage stay, nothing of the damaged one does."""
    messages: list[str] = []
    with _plain_file(images, tar) as file:
        archive = _Archive(file)
        try:
            for archived in archive.images():
                messages += _store(images, archive, archived, limit)
        finally:
            images.store.layers.collect()
    return messages


def _store(images: Images, archive: _Archive, archived: _ArchivedImage, limit: Limit | None) -> list[str]:
    layers = images.store.layers
    diff_ids = image_config.diff_ids(image_config.parse(archived.config))
    if len(diff_ids) != len(archived.layers):
        raise InvalidParameter(
            f"invalid manifest, layers length mismatch: expected {len(diff_ids)}, got {len(archived.layers)}"
        )
    chain = image_config.chain_ids(diff_ids)
    try:
        parent = None
        for diff_id, chain_id, member in zip(diff_ids, chain, archived.layers, strict=True):
            if not layers.want(chain_id):
                section = cast(BinaryIO, archive.open(member))
                layers.unpack(section, parent, expected_diff_id=diff_id, limit=limit)
            parent = chain_id
        image = images.create(archived.config)
    except BaseException:
        layers.settle(chain)
        raise
    messages = []
    for reference in archived.references:
        if previous := images.tag(image.id, reference):
            messages.append(
                f"The image {reference.familiar} already exists, "
                f"renaming the old one with ID {previous} to empty string"
            )
        messages.append(f"Loaded image: {reference.familiar}")
    return messages or [f"Loaded image ID: {image.id}"]


@contextmanager
def _plain_file(images: Images, tar: BinaryIO) -> Iterator[BinaryIO]:
    """The archive as a plain, seekable file: itself if it is one, a temporary copy otherwise."""
    if tar.seekable():
        start = tar.tell()
        compression = detect(tar.read(6))
        tar.seek(start)
        if compression is None:
            yield tar
            return
    with images.store.temporary() as place, (place / "archive").open("w+b") as file:
        plain = decompressed(tar)
        while data := plain.read(1 << 20):
            file.write(data)
        file.seek(0)
        yield file


class _Section:
    """A member's content, as a file that can be read and rewound."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        self._file = file
        self._offset = offset
        self._size = size
        self._position = 0

    def read(self, size: int = -1, /) -> bytes:
        left = self._size - self._position
        self._file.seek(self._offset + self._position)
        data = self._file.read(left if size < 0 else min(size, left))
        if not data and left and size:
            raise InvalidParameter("invalid tar archive: unexpected EOF")
        self._position += len(data)
        return data

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, /) -> int:
        self._position = position
        return position


class _Archive:
    """The members of an archive by name, and the images that its documents describe."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._members: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        start = file.tell()
        reader = TarReader(file, seekable=True)
        for entry in reader:
            name = _member_name(entry.name)
            if entry.type == REGULAR:
                self._members[name] = (start + reader.offset, entry.size)
            elif entry.type == SYMLINK:
                self._links[name] = posixpath.join(
                    posixpath.dirname(name), entry.linkname.decode(errors="replace")
                )
            elif entry.type == HARD_LINK:
                self._links[name] = entry.linkname.decode(errors="replace")

    def open(self, name: str) -> _Section:
        """A member's content; links, as older versions of Docker use for equal layers, are followed. Raises
        InvalidParameter."""
        wanted = _member_name(name.encode())
        for _ in range(_LINK_LIMIT):
            if wanted in self._members:
                return _Section(self._file, *self._members[wanted])
            if wanted not in self._links:
                break
            wanted = _member_name(self._links[wanted].encode())
        raise InvalidParameter(f"invalid image archive: {name!r} is not in it")

    def images(self) -> list[_ArchivedImage]:
        """Raises InvalidParameter."""
        if "manifest.json" in self._members:
            return [
                self._docker_image(item)
                for item in _objects(self._document("manifest.json"), "manifest.json")
            ]
        if "index.json" in self._members:
            index = self._document("index.json")
            items = _objects(
                index.get("manifests") if isinstance(index, dict) else None, "index.json: manifests"
            )
            images = [image for item in items for image in self._oci_images(item, 0)]
            if items and not images:
                raise InvalidParameter("invalid image archive: there is no image among its manifests")
            return images
        raise InvalidParameter(
            "invalid image archive: neither manifest.json nor index.json is in it",
            hint="a root file system without an image's documents is read by docker import",
        )

    def _document(self, name: str) -> Any:
        return self._parse(name, self._bytes(name))

    def _bytes(self, name: str) -> bytes:
        data = self.open(name).read(_JSON_LIMIT + 1)
        if len(data) > _JSON_LIMIT:
            raise InvalidParameter(f"invalid image archive: {name} is longer than {_JSON_LIMIT} bytes")
        return data

    def _parse(self, name: str, data: bytes) -> Any:
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InvalidParameter(f"invalid image archive: {name} is not JSON: {error}") from error

    def _docker_image(self, item: dict[str, Any]) -> _ArchivedImage:
        config, layers = item.get("Config"), item.get("Layers") or []
        names = item.get("RepoTags") or []
        if not isinstance(config, str) or not _are_strings(layers) or not _are_strings(names):
            raise InvalidParameter("invalid image archive: manifest.json: a field of the wrong type")
        return _ArchivedImage(self._bytes(config), layers, [parse_reference(name) for name in names])

    def _oci_images(self, descriptor: dict[str, Any], depth: int) -> list[_ArchivedImage]:
        """The image of a manifest, or of this machine's manifest in an index; none where it describes
        something else, such as a signature.
        """
        document = self._parse("manifest", self._blob(descriptor))
        if not isinstance(document, dict):
            raise InvalidParameter("invalid image archive: a manifest is not an object")
        if "manifests" in document:
            if depth > 2:
                raise InvalidParameter("invalid image archive: indexes within indexes")
            chosen = manifests.choose(_objects(document["manifests"], "index: manifests"), own_platform())
            names = {"annotations": descriptor.get("annotations") or chosen.get("annotations")}
            return self._oci_images(chosen | names, depth + 1)
        config = document.get("config")
        if document.get("artifactType") or not _is_image(config):
            return []
        layers = _objects(document.get("layers"), "manifest: layers")
        return [
            _ArchivedImage(
                self._blob(config),
                [blob_path(str(layer.get("digest"))) for layer in layers],
                _annotated_names(descriptor.get("annotations")),
            )
        ]

    def _blob(self, descriptor: dict[str, Any]) -> bytes:
        digest = str(descriptor.get("digest"))
        data = self._bytes(blob_path(digest))
        if image_config.digest(data) != digest:
            raise InvalidParameter(f"invalid image archive: blob {digest} is damaged")
        return data


def _is_image(config: Any) -> TypeGuard[dict[str, Any]]:
    """Whether a manifest with this configuration is an image's (image-spec, manifest.md: what has another
    type is an artifact); old ones do not say.
    """
    return isinstance(config, dict) and config.get("mediaType") in (CONFIG, manifests.DOCKER_CONFIG, None, "")


def _annotated_names(annotations: object) -> list[Reference]:
    """A reference, if one is written beside the manifest; a mere tag names no image."""
    if not isinstance(annotations, dict):
        return []
    for key in (IMAGE_NAME, REF_NAME):
        name = annotations.get(key)
        if isinstance(name, str) and (key == IMAGE_NAME or "/" in name or ":" in name):
            try:
                return [parse_reference(name).with_default_tag()]
            except InvalidParameter:
                continue
    return []


def _objects(value: Any, what: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidParameter(f"invalid image archive: {what} is not a list of objects")
    return value


def _are_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _member_name(name: bytes) -> str:
    return posixpath.normpath("/" + name.decode(errors="surrogateescape").lstrip("/"))[1:]
