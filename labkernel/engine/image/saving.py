"""The archive that `docker save` writes.

It is an OCI image layout (image-spec, image-layout.md) and a `docker save` archive (manifest.json, as in
moby's image specification v1.2) at once, as Docker's is since version 25: OCI tools read the one, every
Docker the other.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labkernel.engine.errors import InvalidParameter
from labkernel.engine.image import config as image_config
from labkernel.engine.image.blobs import Descriptor
from labkernel.engine.image.layers import PLAIN_LAYER, Layer
from labkernel.engine.image.reference import Reference, parse_reference
from labkernel.engine.image.tarformat import DIRECTORY, END, Entry, header, padding
from labkernel.engine.image.tarwriter import Writer

if TYPE_CHECKING:
    from labkernel.engine.image.images import Image, Images

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
_GZIP_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
# annotations.md, and the name that containerd and Docker put beside it for the whole reference.
REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"


def save(images: Images, names: Sequence[str], out: Writer) -> None:
    """Write the images that `names` (references, ids; a repository without a tag means all its tags) name.
    Raises NotFound before anything is written."""
    chosen: dict[str, list[Reference]] = {}
    for name in names:
        for image_id, reference in _chosen(images, name):
            known = chosen.setdefault(image_id, [])
            if reference is not None and reference not in known:
                known.append(reference)
    writer = _ArchiveWriter(out)
    index: list[dict[str, Any]] = []
    manifest: list[dict[str, Any]] = []
    for image_id, references in chosen.items():
        image = images.get(image_id)
        layers = images.layers(image)
        descriptors = [_layer_descriptor(layer) for layer in layers]
        for layer, descriptor in zip(layers, descriptors, strict=True):
            if writer.begin_blob(descriptor):
                if descriptor.digest == layer.diff_id:
                    images.store.layers.pack(layer, out)
                else:
                    with images.store.blobs.open(descriptor.digest) as blob:
                        shutil.copyfileobj(blob, out, 1 << 20)
                writer.end_blob(descriptor)
        config = writer.add_blob(CONFIG, images.serialised(image_id))
        oci = writer.add_blob(MANIFEST, manifest_of(config, descriptors))
        named: Sequence[Reference | None] = references or [None]
        index.extend(_index_entry(oci, reference, image) for reference in named)
        manifest.append(
            {
                "Config": blob_path(config.digest),
                "RepoTags": [reference.familiar for reference in references] or None,
                "Layers": [blob_path(descriptor.digest) for descriptor in descriptors],
            }
        )
    writer.add_file("index.json", _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": index}))
    writer.add_file("manifest.json", _json(manifest))
    writer.add_file("oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
    out.write(END)


def manifest_of(config: Descriptor, layers: Sequence[Descriptor]) -> bytes:
    """An OCI image manifest (image-spec, manifest.md)."""
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor(config),
            "layers": [_descriptor(layer) for layer in layers],
        }
    )


def _chosen(images: Images, name: str) -> list[tuple[str, Reference | None]]:
    """The ids that a name means, each with the name it goes by in the archive."""
    try:
        reference = parse_reference(name)
    except InvalidParameter:
        return [(images.resolve(name).id, None)]
    if reference.tag is None and reference.digest is None and (tags := images.tags(reference.name)):
        return [(images.resolve(tag.canonical).id, tag) for tag in tags]
    image = images.resolve(name)
    named = reference.with_default_tag()
    is_its_tag = not named.digest and named in images.references(image.id)
    return [(image.id, named if is_its_tag else None)]


def _layer_descriptor(layer: Layer) -> Descriptor:
    """gzip goes out as it came; other compressions do not, for not every version of Docker reads them."""
    if layer.blob is not None and layer.blob.media_type.endswith("gzip"):
        return Descriptor(_GZIP_LAYER, layer.blob.digest, layer.blob.size)
    return Descriptor(PLAIN_LAYER, layer.diff_id, layer.tar_size)


def _index_entry(manifest: Descriptor, reference: Reference | None, image: Image) -> dict[str, Any]:
    entry = _descriptor(manifest)
    if reference is not None:
        entry["annotations"] = {IMAGE_NAME: reference.canonical, REF_NAME: reference.tag}
    platform = {key: image.config[key] for key in ("architecture", "os", "variant") if image.config.get(key)}
    if platform:
        entry["platform"] = platform
    return entry


def _descriptor(descriptor: Descriptor) -> dict[str, Any]:
    return {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}


def blob_path(digest: str) -> str:
    return "blobs/sha256/" + digest.removeprefix("sha256:")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


class _ArchiveWriter:
    """Writes members one after the other; each blob once."""

    def __init__(self, out: Writer) -> None:
        self._out = out
        self._written: set[str] = set()
        for name in ("blobs/", "blobs/sha256/"):
            out.write(header(Entry(name.encode(), DIRECTORY, mode=0o755)))

    def begin_blob(self, descriptor: Descriptor) -> bool:
        """Write the header; False if the blob is in the archive already. The caller writes the content."""
        if descriptor.digest in self._written:
            return False
        self._written.add(descriptor.digest)
        self._out.write(header(Entry(blob_path(descriptor.digest).encode(), size=descriptor.size)))
        return True

    def end_blob(self, descriptor: Descriptor) -> None:
        self._out.write(bytes(padding(descriptor.size)))

    def add_blob(self, media_type: str, data: bytes) -> Descriptor:
        descriptor = Descriptor(media_type, image_config.digest(data), len(data))
        if self.begin_blob(descriptor):
            self._out.write(data)
            self.end_blob(descriptor)
        return descriptor

    def add_file(self, name: str, data: bytes) -> None:
        self._out.write(header(Entry(name.encode(), size=len(data))) + data + bytes(padding(len(data))))
