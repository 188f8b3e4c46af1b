"""`docker rmi`: Docker's rules in Docker's words."""

from __future__ import annotations

import pytest

from labkernel.engine.errors import Conflict, NotFound
from labkernel.engine.image.deletion import ImageUser, ImageUsers
from labkernel.engine.image.images import Image, Images
from labkernel.engine.image.reference import parse_reference
from tests.engine.image.conftest import Tree
from tests.engine.image.test_images import DIGEST, make

CONTAINER = "c0ffee" * 11


def nobody(image_id: str) -> list[ImageUser]:
    return []


def used_by(image: Image, *, running: bool) -> ImageUsers:
    return lambda image_id: [ImageUser(CONTAINER, running)] if image_id == image.id else []


def short(image: Image) -> str:
    return image.id.removeprefix("sha256:")[:12]


def tag(images: Images, image: Image, *names: str) -> None:
    for name in names:
        images.tag(image.id, parse_reference(name))


def test_one_name_of_several_is_taken_away(images: Images, tree: Tree) -> None:
    image = make(images, tree, "1", "web:v1")
    tag(images, image, "web:v2")
    assert images.delete("web:v1", nobody) == [{"Untagged": "web:v1"}]
    assert [name.familiar for name in images.references(image.id)] == ["web:v2"]


def test_the_last_name_takes_the_image_with_it(images: Images, tree: Tree) -> None:
    base = make(images, tree, "1", "base")
    image = make(images, tree, "2", "web:v1", base)
    assert images.delete("web:v1", nobody) == [
        {"Untagged": "web:v1"},
        {"Deleted": image.id},
        {"Deleted": image.chain_id},
    ]
    assert images.list() == [base]


def test_digests_go_with_the_last_tag_of_their_repository(images: Images, tree: Tree) -> None:
    image = make(images, tree, "1", "web:v1")
    tag(images, image, f"web@{DIGEST}")
    records = images.delete("web:v1", nobody)
    assert records[:3] == [{"Untagged": "web:v1"}, {"Untagged": f"web@{DIGEST}"}, {"Deleted": image.id}]


def test_an_id_takes_all_names_in_one_repository(images: Images, tree: Tree) -> None:
    image = make(images, tree, "1", "web:v1")
    tag(images, image, f"web@{DIGEST}")
    assert {"Deleted": image.id} in images.delete(short(image), nobody)
    assert images.list() == []


def test_an_id_with_several_names_needs_force(images: Images, tree: Tree) -> None:
    image = make(images, tree, "1", "web:v1")
    tag(images, image, "other:v1")
    with pytest.raises(Conflict) as raised:
        images.delete(short(image), nobody)
    assert raised.value.message == (
        f"conflict: unable to delete {short(image)} (must be forced) - "
        "image is referenced in multiple repositories"
    )
    assert images.delete(image.id, nobody, force=True) == [
        {"Untagged": "other:v1"},
        {"Untagged": "web:v1"},
        {"Deleted": image.id},
        {"Deleted": image.chain_id},
    ]


def test_containers_keep_the_last_name(images: Images, tree: Tree) -> None:
    image = make(images, tree, "1", "web:v1")
    for running in (True, False):
        with pytest.raises(Conflict) as raised:
            images.delete("web:v1", used_by(image, running=running))
        assert raised.value.message == (
            'conflict: unable to remove repository reference "web:v1" (must force) - '
            f"container c0ffeec0ffee is using its referenced image {short(image)}"
        )
    assert images.delete("web:v1", used_by(image, running=True), force=True) == [{"Untagged": "web:v1"}]
    assert images.list() == [image]


@pytest.mark.parametrize(
    ("running", "force", "message"),
    [
        (False, False, "(must be forced) - image is being used by stopped container c0ffeec0ffee"),
        (True, False, "(cannot be forced) - image is being used by running container c0ffeec0ffee"),
        (True, True, "(cannot be forced) - image is being used by running container c0ffeec0ffee"),
    ],
)
def test_containers_keep_the_image(
    images: Images, tree: Tree, running: bool, force: bool, message: str
) -> None:
    image = make(images, tree, "1", "web:v1")
    with pytest.raises(Conflict) as raised:
        images.delete(short(image), used_by(image, running=running), force=force)
    assert raised.value.message == f"conflict: unable to delete {short(image)} {message}"
    assert images.resolve("web:v1") == image


def test_a_forced_deletion_under_a_stopped_container_keeps_what_it_holds(images: Images, tree: Tree) -> None:
    image = make(images, tree, "1", "web:v1")
    assert image.chain_id is not None
    images.store.layers.hold(image.chain_id, CONTAINER)
    records = images.delete(short(image), used_by(image, running=False), force=True)
    assert records == [{"Untagged": "web:v1"}, {"Deleted": image.id}]
    assert images.store.layers.has(image.chain_id)
    assert images.store.layers.release(CONTAINER)
    images.store.layers.collect()
    assert not images.store.layers.has(image.chain_id)


def test_what_others_were_built_on_stays(images: Images, tree: Tree) -> None:
    base = make(images, tree, "1", "base")
    make(images, tree, "2", "web", base)
    with pytest.raises(Conflict) as raised:
        images.delete(base.id, nobody, force=True)
    assert raised.value.message == (
        f"conflict: unable to delete {short(base)} (cannot be forced) - image has dependent child images"
    )
    assert images.delete("base", nobody) == [{"Untagged": "base:latest"}]
    assert images.get(base.id) == base


def test_unnamed_parents_go_too(images: Images, tree: Tree) -> None:
    base = make(images, tree, "1", "base")
    first = make(images, tree, "2", None, base)
    second = make(images, tree, "3", None, first)
    web = make(images, tree, "4", "web", second)
    records = images.delete("web", nobody)
    assert [
        record["Deleted"] for record in records if record.get("Deleted") in {first.id, second.id, web.id}
    ] == [
        web.id,
        second.id,
        first.id,
    ]
    assert images.list(all=True) == [base]


def test_without_pruning_parents_stay(images: Images, tree: Tree) -> None:
    first = make(images, tree, "2")
    make(images, tree, "3", "web", first)
    images.delete("web", nobody, prune=False)
    assert images.list() == [first]


def test_parents_that_containers_use_stay(images: Images, tree: Tree) -> None:
    first = make(images, tree, "2")
    make(images, tree, "3", "web", first)
    images.delete("web", used_by(first, running=False))
    assert images.list() == [first]


def test_unknown_images(images: Images) -> None:
    with pytest.raises(NotFound, match="No such image: web:latest"):
        images.delete("web", nobody)
