"""Manifests and indexes as registries serve them, in OCI's form and in Docker's. Pure: no I/O.

Sources: OCI image-spec, manifest.md and image-index.md; Docker's image manifest version 2, schema 2.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from labkernel.engine import errors
from labkernel.engine.errors import InvalidParameter, NotFound

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
#: What a request for a manifest accepts.
ACCEPTED = (OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST)

_DIGEST = re.compile(r"sha256:[a-f0-9]{64}")


class Descriptor(NamedTuple):
    """A blob as a manifest names it (image-spec, descriptor.md); `size` in bytes."""

    media_type: str
    digest: str
    size: int


class Platform(NamedTuple):
    """An architecture by Go's name, and its variant, if any (image-spec, image-index.md)."""

    os: str
    architecture: str
    variant: str | None = None

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


class Manifest(NamedTuple):
    """An image: its configuration, and its layers from the base up."""

    config: Descriptor
    layers: list[Descriptor]


def parse(data: bytes) -> Manifest | list[dict[str, Any]]:
    """A manifest, or the entries of an index. Raises InvalidParameter, NotOffered for Docker's schema
    1."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"manifest is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidParameter("manifest is not a JSON object")
    if document.get("schemaVersion") == 1:
        raise errors.NotOffered(
            "Docker's image manifest version 2, schema 1 is not supported",
            hint="pull and push the image with a newer Docker: its registry will have the newer form then",
        )
    if "manifests" in document:
        return _objects(document["manifests"], "manifests")
    config = document.get("config")
    if not isinstance(config, dict):
        raise InvalidParameter("manifest: no config")
    return Manifest(
        descriptor(config), [descriptor(layer) for layer in _objects(document.get("layers"), "layers")]
    )


def descriptor(value: dict[str, Any]) -> Descriptor:
    """Raises InvalidParameter."""
    digest, size, media_type = value.get("digest"), value.get("size"), value.get("mediaType", "")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise InvalidParameter(f"manifest: {digest!r} is not a sha256 digest")
    if not isinstance(size, int) or size < 0 or not isinstance(media_type, str):
        raise InvalidParameter(f"manifest: the descriptor of {digest} has no size or media type")
    return Descriptor(media_type, digest, size)


def choose(manifests: Sequence[dict[str, Any]], wanted: Platform) -> dict[str, Any]:
    """The entry of an index that fits a platform; the exact variant before another. Raises NotFound."""
    fitting = []
    for manifest in manifests:
        platform = manifest.get("platform") or {}
        if not isinstance(platform, dict):
            continue
        if (platform.get("os", wanted.os), platform.get("architecture", wanted.architecture)) == wanted[:2]:
            fitting.append((platform.get("variant") not in (None, "", wanted.variant), manifest))
    if not fitting:
        raise NotFound(f"no matching manifest for {wanted} in the manifest list entries")
    return min(fitting, key=lambda pair: pair[0])[1]


def docker_manifest(config: Descriptor, layers: Sequence[Descriptor]) -> bytes:
    """The bytes of a manifest in Docker's form, which every registry takes; `config` and `layers` as
    pushed."""
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": DOCKER_CONFIG, "size": config.size, "digest": config.digest},
        "layers": [
            {"mediaType": DOCKER_LAYER, "size": layer.size, "digest": layer.digest} for layer in layers
        ],
    }
    return json.dumps(document, indent=3).encode()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _objects(value: Any, what: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidParameter(f"manifest: {what} is not a list of objects")
    return value
