"""OCI image layouts that are out of the ordinary, as `docker load` gets them: what is for us is stored, what
is damaged is named.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
import zstandard

from labkernel.engine.errors import EngineError
from labkernel.engine.image import config
from labkernel.engine.image.images import Images
from labkernel.engine.image.platforms import own_platform
from tests.engine.image.test_saving_loading import archive_of, stored_nothing

_OCI = "application/vnd.oci.image"
_REF = "org.opencontainers.image.ref.name"


class Layout:
    """A layout under construction; `files` is what is in the archive."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}
        self.entries: list[dict[str, Any]] = []

    def blob(self, kind: str, data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = data
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    def document(self, kind: str, value: Any) -> dict[str, Any]:
        return self.blob(kind, json.dumps(value).encode())

    def image(
        self,
        text: str,
        compress: Callable[[bytes], bytes] = gzip.compress,
        kind: str = f"{_OCI}.layer.v1.tar+gzip",
        **changes: Any,
    ) -> dict[str, Any]:
        """An image with one file in one layer; its manifest's descriptor."""
        plain = archive_of({"file": text.encode()})
        diff_id = "sha256:" + hashlib.sha256(plain).hexdigest()
        document = config.new_config(
            config={"Cmd": [text]}, diff_ids=[diff_id], history=[config.history_entry("made")]
        )
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        manifest = {
            "schemaVersion": 2,
            "config": self.blob(f"{_OCI}.config.v1+json", data),
            "layers": [self.blob(kind, compress(plain))],
        }
        return self.document(f"{_OCI}.manifest.v1+json", manifest | changes)

    def index(self, *manifests: dict[str, Any]) -> dict[str, Any]:
        return self.document(f"{_OCI}.index.v1+json", {"schemaVersion": 2, "manifests": list(manifests)})

    def put(self, manifest: dict[str, Any], name: str | None = None) -> None:
        self.entries.append(manifest | ({"annotations": {_REF: name}} if name else {}))

    def archive(self) -> io.BytesIO:
        index = {"schemaVersion": 2, "manifests": self.entries}
        return io.BytesIO(archive_of(self.files | {"index.json": json.dumps(index).encode()}))


def platform(architecture: str, system: str = "linux") -> dict[str, Any]:
    return {"platform": {"os": system, "architecture": architecture}}


OURS = platform(own_platform().architecture)
FOREIGN = platform("s390x")
ATTESTATION = {
    **platform("unknown", "unknown"),
    "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
}


@pytest.mark.parametrize(
    ("compress", "kind"),
    [
        (gzip.compress, f"{_OCI}.layer.v1.tar+gzip"),
        (zstandard.ZstdCompressor().compress, f"{_OCI}.layer.v1.tar+zstd"),
        (bytes, f"{_OCI}.layer.v1.tar"),
        (gzip.compress, f"{_OCI}.layer.nondistributable.v1.tar+gzip"),
        (gzip.compress, "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        (gzip.compress, f"{_OCI}.layer.v1.tar"),  # what a layer is, its first bytes say
    ],
)
def test_layers_of_each_kind(images: Images, compress: Any, kind: str) -> None:
    layout = Layout()
    layout.put(layout.image("a", compress, kind), "me/a:v1")
    assert images.load(layout.archive()) == ["Loaded image: me/a:v1"]
    assert images.resolve("me/a:v1").config["config"]["Cmd"] == ["a"]


def test_several_images_with_names_tags_and_nothing(images: Images) -> None:
    layout = Layout()
    layout.put(layout.image("a"), "me/a:v1")
    layout.put(layout.image("b"), "latest")
    layout.put(layout.image("c"))
    first, *others = images.load(layout.archive())
    assert first == "Loaded image: me/a:v1"
    assert all(line.startswith("Loaded image ID: sha256:") for line in others)
    assert len(images.list()) == 3


def test_of_an_index_ours_is_taken(images: Images) -> None:
    layout = Layout()
    absent = {"mediaType": f"{_OCI}.manifest.v1+json", "digest": "sha256:" + "0" * 64, "size": 3}
    index = layout.index(absent | FOREIGN, layout.image("ours") | OURS, absent | ATTESTATION)
    layout.put(index, "me/many:v1")
    assert images.load(layout.archive()) == ["Loaded image: me/many:v1"]
    assert images.resolve("me/many:v1").config["config"]["Cmd"] == ["ours"]


def test_what_is_no_image_beside_one_is_left_alone(images: Images) -> None:
    """Signatures and attestations lie beside an image; newer layouts say what they are by `artifactType`."""
    layout = Layout()
    layout.put(layout.image("a"), "me/a:v1")
    empty = layout.blob("application/vnd.oci.empty.v1+json", b"{}")
    signature = {"schemaVersion": 2, "config": empty, "layers": [empty]}
    for kind in ({"artifactType": "application/x.signature"}, {}):
        layout.put(layout.document(f"{_OCI}.manifest.v1+json", signature | kind))
    layout.put(layout.document("application/x.something", {"some": "thing"}))
    assert images.load(layout.archive()) == ["Loaded image: me/a:v1"]
    assert len(images.list()) == 1


def _without(part: str) -> Callable[[Layout], None]:
    def build(layout: Layout) -> None:
        manifest = layout.image("a")
        document = json.loads(layout.files["blobs/sha256/" + manifest["digest"][7:]])
        missing = {"manifest": manifest, "config": document["config"], "layer": document["layers"][0]}[part]
        del layout.files["blobs/sha256/" + missing["digest"][7:]]
        layout.put(manifest, "me/a:v1")

    return build


def _damaged(part: str) -> Callable[[Layout], None]:
    def build(layout: Layout) -> None:
        manifest = layout.image("a")
        document = json.loads(layout.files["blobs/sha256/" + manifest["digest"][7:]])
        blob = {"config": document["config"], "layer": document["layers"][0]}[part]
        name = "blobs/sha256/" + blob["digest"][7:]
        if part == "layer":
            layout.files[name] = gzip.compress(archive_of({"file": b"something else"}))
        else:
            layout.files[name] += b" "
        layout.put(manifest, "me/a:v1")

    return build


def _only_foreign(layout: Layout) -> None:
    layout.put(layout.index(layout.image("theirs") | FOREIGN), "me/a:v1")


def _no_image_at_all(layout: Layout) -> None:
    layout.put(layout.document("application/x.something", {"some": "thing"}), "me/a:v1")


def _unknown_layer(layout: Layout) -> None:
    layout.put(layout.image("a", lambda data: b"no layer at all", "application/x.layer"), "me/a:v1")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (_without("manifest"), "is not in it"),
        (_without("config"), "is not in it"),
        (_without("layer"), "is not in it"),
        (_damaged("config"), "is damaged"),
        (_damaged("layer"), "invalid diffID|digest"),
        (_only_foreign, "no matching manifest for linux/"),
        (_no_image_at_all, "there is no image among its manifests"),
        (_unknown_layer, "invalid tar|unexpected EOF"),
    ],
)
def test_what_is_missing_or_damaged_is_named(
    images: Images, build: Callable[[Layout], None], message: str
) -> None:
    layout = Layout()
    build(layout)
    with pytest.raises(EngineError, match=message):
        images.load(layout.archive())
    assert stored_nothing(images)
