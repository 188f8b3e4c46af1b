"""Images: ids, names, parents, and what the API says of them."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest

from labkernel.engine.errors import InvalidParameter, NotFound
from labkernel.engine.image import config
from labkernel.engine.image.images import Image, Images
from labkernel.engine.image.reference import parse_reference
from tests.engine.image.conftest import Tree

DIGEST = "sha256:" + "d" * 64


def make(
    images: Images,
    tree: Tree,
    text: str,
    name: str | None = None,
    parent: Image | None = None,
    **document: Any,
) -> Image:
    """An image with a layer of its own on its parent's."""
    layer = images.store.layers.adopt(tree({"file": text}), parent.chain_id if parent else None)
    diff_ids = [*(config.diff_ids(parent.config) if parent else []), layer.diff_id]
    history = [*(parent.config["history"] if parent else []), config.history_entry(f"RUN {text}")]
    made = config.new_config(diff_ids=diff_ids, history=history, **document)
    reference = parse_reference(name) if name else None
    return images.create(made, parent=parent.id if parent else None, reference=reference)


def test_the_id_is_the_digest_of_the_bytes_as_given(images: Images) -> None:
    data = b'{ "rootfs": {"type": "layers", "diff_ids": []},  "unknown": "kept"}'
    image = images.create(data)
    assert image.id == config.digest(data)
    assert images.serialised(image.id) == data
    assert image.config["unknown"] == "kept"
    assert (image.chain_id, image.size, image.created) == (None, 0, 0)


def test_layers_must_be_there(images: Images) -> None:
    with pytest.raises(NotFound, match="layer does not exist"):
        images.create(config.new_config(diff_ids=["sha256:" + "0" * 64]))
    with pytest.raises(InvalidParameter):
        images.create(b"no JSON")


def test_resolving(images: Images, tree: Tree) -> None:
    image = make(images, tree, "1", "me/web:v1")
    make(images, tree, "2", "other")
    digits = image.id.removeprefix("sha256:")
    for name in ("me/web:v1", "docker.io/me/web:v1", image.id, digits, digits[:12], f"sha256:{digits[:20]}"):
        assert images.resolve(name) == image
    images.tag(image.id, parse_reference(f"me/web@{DIGEST}"))
    assert images.resolve(f"me/web@{DIGEST}") == image
    assert images.resolve(f"me/web:whatever@{DIGEST}") == image


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "No such image: nowhere:latest"),
        ("me/web", "No such image: me/web:latest"),
        ("registry.example/x:1", "No such image: registry.example/x:1"),
        ("sha256:" + "0" * 64, "No such image: sha256:" + "0" * 64),
        ("0" * 64, "No such image: sha256:" + "0" * 64),
        ("feed", "No such image: feed:latest"),
    ],
)
def test_unknown_names(images: Images, tree: Tree, name: str, message: str) -> None:
    make(images, tree, "1", "me/web:v1")
    with pytest.raises(NotFound) as raised:
        images.resolve(name)
    assert raised.value.message == message


def test_the_nearest_names_are_the_hint(images: Images, tree: Tree) -> None:
    make(images, tree, "1", "me/web-base:v1")
    with pytest.raises(NotFound) as raised:
        images.resolve("me/web-base")
    assert raised.value.hint == "did you mean me/web-base:v1?"
    with pytest.raises(NotFound) as raised:
        images.resolve("me/webbase:v1")
    assert raised.value.hint == "did you mean me/web-base:v1?"
    with pytest.raises(NotFound) as raised:
        images.resolve("completely/different:thing")
    assert raised.value.hint is None


def test_the_start_of_an_id_must_be_of_one_image(images: Images) -> None:
    made = []
    for number in range(40):
        made.append(images.create(config.new_config(config={"Labels": {"n": str(number)}})))
    starts = [image.id.removeprefix("sha256:")[:1] for image in made]
    shared = next(start for start in starts if starts.count(start) > 1)
    with pytest.raises(NotFound):
        images.resolve(shared)


def test_a_tag_moves(images: Images, tree: Tree) -> None:
    one, other = make(images, tree, "1", "web"), make(images, tree, "2")
    assert images.tag(other.id, parse_reference("web")) == one.id
    assert images.tag(other.id, parse_reference("web")) is None
    assert images.resolve("web") == other
    assert images.references(one.id) == []
    with pytest.raises(NotFound):
        images.tag("sha256:" + "0" * 64, parse_reference("web"))
    images.untag(parse_reference("web"))
    with pytest.raises(NotFound, match="No such image: web:latest"):
        images.untag(parse_reference("web"))


def test_lists_leave_out_the_steps_of_builds(images: Images, tree: Tree) -> None:
    base = make(images, tree, "1", "base", created="2020-01-01T00:00:00Z")
    step = make(images, tree, "2", None, base, created="2020-01-02T00:00:00Z")
    web = make(images, tree, "3", "web", step, created="2020-01-03T00:00:00Z")
    dangling = make(images, tree, "4", None, base, created="2020-01-04T00:00:00Z")
    assert images.list() == [dangling, web, base]
    assert images.list(all=True) == [dangling, web, step, base]
    assert {image.id for image in images.children(base.id)} == {step.id, dangling.id}


def test_history(images: Images, tree: Tree) -> None:
    base = make(images, tree, "1", "base")
    document = json.loads(images.serialised(base.id))
    document["history"].append(config.history_entry("CMD x", empty_layer=True, comment="note"))
    step = images.create(document, parent=base.id)
    web = make(images, tree, "22", "web", step)
    images.tag(web.id, parse_reference("web:v2"))
    items = images.history(web)
    assert [
        (item["Id"], item["CreatedBy"], item["Size"], item["Tags"], item["Comment"]) for item in items
    ] == [
        (web.id, "RUN 22", 2, ["web:latest", "web:v2"], ""),
        (step.id, "CMD x", 0, None, "note"),
        (base.id, "RUN 1", 1, ["base:latest"], ""),
    ]
    assert [item["Id"] for item in images.history(step)] == [step.id, base.id]


def test_history_of_an_image_from_elsewhere(images: Images, tree: Tree) -> None:
    layer = images.store.layers.adopt(tree({"x": "1"}), None)
    steps = [config.history_entry("ADD x"), config.history_entry("CMD", empty_layer=True)]
    image = images.create(config.new_config(diff_ids=[layer.diff_id], history=steps))
    assert [(item["Id"], item["Size"]) for item in images.history(image)] == [(image.id, 0), ("<missing>", 1)]


def test_sizes(images: Images, tree: Tree) -> None:
    base = make(images, tree, "1" * 100, "base")
    web = make(images, tree, "2" * 10, "web", base)
    alone = make(images, tree, "3" * 7, "alone")
    assert [image.size for image in (base, web, alone)] == [100, 110, 7]
    shared = [images.summary(image, shared_size=True)["SharedSize"] for image in (base, web, alone)]
    assert shared == [100, 100, 0]
    usage = images.disk_usage(lambda image_id: 2 if image_id == web.id else 0)
    assert usage["LayersSize"] == 117
    assert {summary["Id"]: summary["Containers"] for summary in usage["Images"]} == {
        base.id: 0,
        web.id: 2,
        alone.id: 0,
    }


def test_what_the_api_says(images: Images, tree: Tree) -> None:
    image = make(
        images,
        tree,
        "1",
        "me/web:v1",
        config={"Cmd": ["sh"], "Labels": {"a": "b"}},
        created="2020-01-01T00:00:00Z",
    )
    images.tag(image.id, parse_reference(f"me/web@{DIGEST}"))
    assert images.summary(image) == {
        "Containers": -1,
        "Created": 1577836800,
        "Id": image.id,
        "Labels": {"a": "b"},
        "ParentId": "",
        "RepoDigests": [f"me/web@{DIGEST}"],
        "RepoTags": ["me/web:v1"],
        "SharedSize": -1,
        "Size": 1,
    }
    described = images.inspect(image)
    assert described["Config"]["Cmd"] == ["sh"]
    assert described["Config"]["Env"] is None
    assert described["RootFS"] == {"Type": "layers", "Layers": config.diff_ids(image.config)}
    assert described["RepoDigests"] == [f"me/web@{DIGEST}"]
    assert described["Created"] == "2020-01-01T00:00:00Z"
    assert described["Metadata"]["LastTagTime"] > "2020"


def test_importing_a_root_file_system(images: Images, tree: Tree) -> None:
    first = make(images, tree, "1", "base")
    archive = io.BytesIO()
    images.store.layers.pack(images.layers(first)[0], archive)
    image = images.import_tar(
        io.BytesIO(gzip.compress(archive.getvalue())),
        reference=parse_reference("imported"),
        config={"Cmd": ["/bin/sh"]},
        message="from the slide",
    )
    assert images.resolve("imported") == image
    assert config.diff_ids(image.config) == config.diff_ids(first.config)
    assert image.config["config"] == {"Cmd": ["/bin/sh"]}
    assert images.history(image)[0]["Comment"] == "from the slide"
    with pytest.raises(InvalidParameter, match="unexpected EOF"):
        images.import_tar(io.BytesIO(archive.getvalue()[:512]))
    assert len(images.list()) == 2
