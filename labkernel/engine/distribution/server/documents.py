"""What a pushed manifest is made of: read as far as the registry must know it. Pure: no I/O."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from labkernel.engine.distribution.manifests import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from labkernel.engine.distribution.server.errors import Refused
from labkernel.engine.distribution.server.names import is_digest

MANIFEST_LIMIT = 4 << 20
"""Bytes of a manifest: what the spec wants a registry to take at least."""


class Parts(NamedTuple):
    """What a manifest refers to: `blobs` and `manifests` must be stored before it; what may be `elsewhere`
    need not, nor its `subject`."""

    blobs: Sequence[str]
    elsewhere: Sequence[str]
    manifests: Sequence[str]
    subject: str | None
    artifact_type: str


def parse(data: bytes, media_type: str) -> Parts:
    """A manifest's or index's references. Raises Refused for what is neither, or not what it says it is."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"manifest is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise _invalid("manifest is not a JSON object")
    if document.get("schemaVersion") != 2:
        raise _invalid("manifest: schemaVersion is not 2")
    stated = document.get("mediaType", media_type)
    if stated != media_type:
        raise _invalid(f"manifest: mediaType {stated!r}, but sent as {media_type!r}")
    annotations = document.get("annotations")
    if annotations is not None and not isinstance(annotations, dict):
        raise _invalid("manifest: annotations is not an object")
    subject = _digest(document["subject"], "subject") if document.get("subject") is not None else None
    artifact_type = _text(document.get("artifactType"), "artifactType")
    if media_type in (OCI_INDEX, DOCKER_LIST):
        manifests = [_digest(item, "manifests") for item in _list(document.get("manifests"), "manifests")]
        return Parts((), (), manifests, subject, artifact_type)
    if media_type not in (OCI_MANIFEST, DOCKER_MANIFEST):
        raise _invalid(f"manifest: media type {media_type!r} is not supported")
    config = document.get("config")
    blobs = [_digest(config, "config")]
    elsewhere: list[str] = []
    for layer in _list(document.get("layers"), "layers"):
        digest = _digest(layer, "layers")
        # image-spec, "Non-Distributable Layers".
        (elsewhere if layer.get("urls") else blobs).append(digest)
    assert isinstance(config, dict)
    artifact_type = artifact_type or _text(config.get("mediaType"), "config: mediaType")
    return Parts(blobs, elsewhere, (), subject, artifact_type)


def _digest(descriptor: Any, what: str) -> str:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(digest, str) or not is_digest(digest):
        raise _invalid(f"manifest: {what}: {digest!r} is no digest")
    return digest


def _text(value: Any, what: str) -> str:
    """JSON may hold half a surrogate pair, which is no text."""
    if value is not None and (not isinstance(value, str) or not value.isprintable()):
        raise _invalid(f"manifest: {what} is no text")
    return value or ""


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise _invalid(f"manifest: {what} is not a list")
    return value


def _invalid(message: str) -> Refused:
    return Refused("MANIFEST_INVALID", message)
