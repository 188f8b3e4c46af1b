"""`docker save` and `docker load`: archives that Docker and OCI tools read, and theirs read here."""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from labkernel.engine.errors import EngineError, InvalidParameter, NotFound
from labkernel.engine.image import config
from labkernel.engine.image.images import Image, Images
from labkernel.engine.image.reference import parse_reference
from tests.engine.image.conftest import Tree
from tests.engine.image.test_images import make
from tests.support.daemons import Daemon


@pytest.fixture
def web(images: Images, tree: Tree) -> Image:
    """`me/web:v1` on `me/base`, with a whiteout, and the empty layer twice."""
    base = make(images, tree, "1", "me/base")
    layer = images.store.layers.adopt(tree({"new": "2"}), base.chain_id)
    empty = images.store.layers.adopt(tree({}), layer.chain_id)
    again = images.store.layers.adopt(tree({}), empty.chain_id)
    diff_ids = [*config.diff_ids(base.config), layer.diff_id, empty.diff_id, again.diff_id]
    history = [config.history_entry(f"step {number}") for number in range(4)]
    document = config.new_config(config={"Cmd": ["/file"]}, diff_ids=diff_ids, history=history)
    return images.create(document, parent=base.id, reference=parse_reference("me/web:v1"))


def saved(images: Images, *names: str) -> bytes:
    out = io.BytesIO()
    images.save(names, out)
    return out.getvalue()


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {}
        for member in archive:
            file = archive.extractfile(member)
            found[member.name] = file.read() if file else b""
        return found


def archive_of(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return buffer.getvalue()


def skopeo(*args: str) -> str:
    ended = subprocess.run(["skopeo", *args], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def ids(images: Images) -> dict[str, set[str]]:
    return {image.id: {name.familiar for name in images.references(image.id)} for image in images.list()}


def stored_nothing(images: Images) -> bool:
    root = images.store.root
    return not images.list(all=True) and not any(
        list((root / name).iterdir()) for name in ("layers", "tmp", "blobs/sha256")
    )


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_what_was_saved_is_loaded(images: Images, web: Image, other: Images, compress: Any) -> None:
    lines = other.load(io.BytesIO(compress(saved(images, "me/web:v1", "me/base"))))
    assert lines == ["Loaded image: me/web:v1", "Loaded image: me/base:latest"]
    assert ids(other) == ids(images)
    assert [layer.blob for layer in other.layers(other.resolve("me/web:v1"))] == [None] * 4
    assert saved(other, "me/web:v1", "me/base") == saved(images, "me/web:v1", "me/base")


def test_loading_from_a_stream_that_cannot_be_rewound(images: Images, web: Image, other: Images) -> None:
    data = saved(images, "me/web:v1")

    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *position: int) -> int:
            raise io.UnsupportedOperation

    assert other.load(Stream(data)) == ["Loaded image: me/web:v1"]


def test_names_that_are_saved(images: Images, web: Image, other: Images) -> None:
    images.tag(web.id, parse_reference("me/web:v2"))
    images.tag(web.id, parse_reference("elsewhere/web:v1"))

    def tags(*names: str) -> list[Any]:
        return [item["RepoTags"] for item in json.loads(members(saved(images, *names))["manifest.json"])]

    assert tags("me/web") == [["me/web:v1", "me/web:v2"]]
    assert tags("me/web:v2", "elsewhere/web:v1") == [["me/web:v2", "elsewhere/web:v1"]]
    assert tags(web.id) == [None]
    assert tags(web.id[7:19]) == [None]
    assert other.load(io.BytesIO(saved(images, web.id))) == [f"Loaded image ID: {web.id}"]
    with pytest.raises(NotFound, match="No such image: nowhere:latest"):
        saved(images, "me/web:v1", "nowhere")


def test_loading_moves_a_tag_and_says_so(images: Images, web: Image, other: Images, tree: Tree) -> None:
    old = make(other, tree, "old", "me/web:v1")
    assert other.load(io.BytesIO(saved(images, "me/web:v1"))) == [
        f"The image me/web:v1 already exists, renaming the old one with ID {old.id} to empty string",
        "Loaded image: me/web:v1",
    ]
    assert other.resolve("me/web:v1").id == web.id


def test_skopeo_reads_both_halves(images: Images, web: Image, place: Path) -> None:
    (place / "saved.tar").write_bytes(saved(images, "me/web:v1"))
    for source in (f"docker-archive:{place}/saved.tar:me/web:v1", f"oci-archive:{place}/saved.tar:v1"):
        document = json.loads(skopeo("inspect", "--config", "--raw", source))
        assert config.digest(images.serialised(web.id)) == web.id
        assert document == web.config


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_what_skopeo_writes_is_loaded(
    images: Images, web: Image, other: Images, place: Path, form: str
) -> None:
    (place / "saved.tar").write_bytes(saved(images, "me/web:v1"))
    skopeo("copy", f"oci-archive:{place}/saved.tar", f"{form}:{place}/copy.tar:docker.io/me/copy:v2")
    with (place / "copy.tar").open("rb") as copy:
        assert other.load(copy) == ["Loaded image: me/copy:v2"]
    assert config.diff_ids(other.resolve("me/copy:v2").config) == config.diff_ids(web.config)
    if form == "oci-archive":
        assert other.resolve("me/copy:v2").id == web.id


def test_docker_loads_ours_and_we_load_dockers(
    images: Images, web: Image, other: Images, place: Path, dockerd: Daemon
) -> None:
    client = dockerd.client()
    try:
        (loaded,) = client.images.load(saved(images, "me/web:v1"))
        assert loaded.id == web.id
        assert loaded.tags == ["me/web:v1"]
        assert loaded.attrs["RootFS"]["Layers"] == config.diff_ids(web.config)
        theirs = b"".join(loaded.save(named=True))
        assert other.load(io.BytesIO(theirs)) == ["Loaded image: me/web:v1"]
        assert other.resolve("me/web:v1").id == web.id
        # What Docker packs, ours packs alike or keeps: Docker loads it again either way.
        client.images.remove("me/web:v1")
        (again,) = client.images.load(saved(other, "me/web:v1"))
        assert again.id == web.id
    finally:
        dockerd.clear()
        client.close()


def test_a_layer_dockers_build_made_keeps_its_digest(other: Images, place: Path, dockerd: Daemon) -> None:
    client = dockerd.client()
    try:
        run = b"rm /bin/vi && mkdir -p /a/b && ln -s b /a/c && echo x > /a/d && chown 5:6 /a/d"
        dockerfile = io.BytesIO(b"FROM busybox\nRUN " + run + b"\n")
        image, _ = client.images.build(fileobj=dockerfile, tag="me/built:v1")
        other.load(io.BytesIO(b"".join(image.save(named=True))))
        ours = other.resolve("me/built:v1")
        assert ours.id == image.id
        for layer in other.layers(ours):
            out = io.BytesIO()
            other.store.layers.pack(layer, out)
            assert config.digest(out.getvalue()) == layer.diff_id
        theirs = {item["CreatedBy"]: item["Size"] for item in image.history()}
        assert {item["CreatedBy"]: item["Size"] for item in other.history(ours)} == theirs
    finally:
        dockerd.clear()
        client.close()


def test_the_old_form_with_links_for_equal_layers(images: Images, web: Image, other: Images) -> None:
    found = members(saved(images, "me/web:v1"))
    (manifest,) = json.loads(found["manifest.json"])
    files, links, names = {"config.json": found[manifest["Config"]]}, {}, []
    for number, layer in enumerate(manifest["Layers"]):
        name = f"{number}/layer.tar"
        names.append(name)
        if number == 3:
            links[name] = "../2/layer.tar"
        else:
            files[name] = found[layer]
    files["manifest.json"] = json.dumps(
        [{"Config": "config.json", "RepoTags": ["old:form"], "Layers": names}]
    ).encode()
    assert other.load(io.BytesIO(archive_of(files, links))) == ["Loaded image: old:form"]
    assert other.resolve("old:form").id == web.id


def test_an_index_of_several_platforms(images: Images, web: Image, other: Images) -> None:
    found = members(saved(images, "me/web:v1"))
    del found["manifest.json"]
    (ours,) = json.loads(found["index.json"])["manifests"]
    del ours["annotations"]
    foreign = {**ours, "digest": "sha256:" + "0" * 64, "platform": {"os": "linux", "architecture": "s390x"}}
    index = json.dumps({"schemaVersion": 2, "manifests": [foreign, ours]}).encode()
    digest = config.digest(index)
    found[f"blobs/sha256/{digest[7:]}"] = index
    top = {"digest": digest, "annotations": {"org.opencontainers.image.ref.name": "me/multi:v1"}}
    found["index.json"] = json.dumps({"manifests": [top]}).encode()
    assert other.load(io.BytesIO(archive_of(found))) == ["Loaded image: me/multi:v1"]
    assert other.resolve("me/multi:v1").id == web.id


def _edited(data: bytes, edit: Any) -> bytes:
    found = members(data)
    edit(found)
    return archive_of(found)


def _change(name: str, change: Any) -> Any:
    def edit(found: dict[str, bytes]) -> None:
        document = json.loads(found[name])
        change(document)
        found[name] = json.dumps(document).encode()

    return edit


def _damage_layer(found: dict[str, bytes]) -> None:
    (manifest,) = json.loads(found["manifest.json"])
    layer = bytearray(found[manifest["Layers"][1]])
    layer[-1600] ^= 1
    found[manifest["Layers"][1]] = bytes(layer)


def _oci_only(edit: Any) -> Any:
    def edit_both(found: dict[str, bytes]) -> None:
        edit(found)
        found.pop("manifest.json", None)

    return edit_both


def _damage_manifest(found: dict[str, bytes]) -> None:
    (entry,) = json.loads(found["index.json"])["manifests"]
    found["blobs/sha256/" + entry["digest"][7:]] += b" "


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda found: found.clear(), "neither manifest.json nor index.json"),
        (lambda found: found.update({"manifest.json": b"{"}), "manifest.json is not JSON"),
        (lambda found: found.update({"manifest.json": b"{}"}), "not a list of objects"),
        (lambda found: found.update({"manifest.json": b"[3]"}), "not a list of objects"),
        (lambda found: found.update({"manifest.json": b'[{"Config": 3}]'}), "a field of the wrong type"),
        (lambda found: found.update({"manifest.json": b" " * (9 << 20)}), "is longer than"),
        (_change("manifest.json", lambda d: d[0].update(Config="../../etc/passwd")), "is not in it"),
        (
            _change("manifest.json", lambda d: d[0]["Layers"].pop()),
            "expected 4, got 3",
        ),
        (_change("manifest.json", lambda d: d[0]["Layers"].reverse()), "invalid diffID for layer"),
        (
            _change("manifest.json", lambda d: d[0].update(RepoTags=["Not A Name"])),
            "invalid reference format",
        ),
        (_damage_layer, "invalid"),
        (_oci_only(_damage_manifest), "is damaged"),
        (_oci_only(_change("index.json", lambda d: d["manifests"][0].update(digest="x"))), "is not in it"),
        (_oci_only(lambda found: found.update({"index.json": b"3"})), "not a list of objects"),
    ],
)
def test_of_a_bad_archive_nothing_stays(
    images: Images, web: Image, other: Images, edit: Any, message: str
) -> None:
    data = _edited(saved(images, "me/web:v1"), edit)
    with pytest.raises(EngineError, match=re.escape(message)):
        other.load(io.BytesIO(data))
    assert stored_nothing(other)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.7])
def test_a_truncated_archive(images: Images, web: Image, other: Images, part: float) -> None:
    data = saved(images, "me/web:v1")
    with pytest.raises(InvalidParameter, match=r"unexpected EOF|neither manifest.json"):
        other.load(io.BytesIO(data[: int(len(data) * part) // 512 * 512 + 100]))
    compressed = gzip.compress(data)
    with pytest.raises(InvalidParameter, match="gzip: unexpected EOF"):
        other.load(io.BytesIO(compressed[: int(len(compressed) * part)]))
    assert stored_nothing(other)
