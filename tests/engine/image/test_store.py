"""Opening a store: what a killed engine left, and stores below this one."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from labkernel.engine.database import Database
from labkernel.engine.image.config import new_config
from labkernel.engine.image.images import Image, Images
from labkernel.engine.image.reference import parse_reference
from labkernel.engine.image.store import LowerStore, Store
from tests.engine.image.conftest import Tree


def make_image(images: Images, top: Path, name: str, parent: Image | None = None) -> Image:
    layer = images.store.layers.adopt(top, parent.chain_id if parent else None)
    diff_ids = [*(parent.config["rootfs"]["diff_ids"] if parent else []), layer.diff_id]
    return images.create(new_config(diff_ids=diff_ids), reference=parse_reference(name))


def test_what_was_half_made_goes_on_opening(store: Store, tree: Tree) -> None:
    images = Images(store)
    image = make_image(images, tree({"x": "1"}), "web")
    unused = store.layers.adopt(tree({"y": "1"}), None)
    (store.root / "layers" / "77").mkdir()
    (store.root / "layers" / "77" / "x").write_text("renamed, and then killed before the row")
    (store.root / "tmp" / "half" / "unpacked").mkdir(parents=True)
    (store.root / "tmp" / "file").write_text("")
    (store.root / "blobs" / "sha256" / ("0" * 64)).write_text("no layer's")
    opened = Store(store.root, store.database)
    assert opened.layers.has(image.chain_id or "")
    assert not opened.layers.has(unused.chain_id)
    assert len(list((store.root / "layers").iterdir())) == 1
    assert list((store.root / "tmp").iterdir()) == []
    assert opened.blobs.digests() == []
    assert opened.lost == []
    assert Images(opened).resolve("web") == image


def test_what_containers_hold_survives_opening(store: Store, tree: Tree) -> None:
    layer = store.layers.adopt(tree({"y": "1"}), None)
    store.layers.hold(layer.chain_id, "container")
    assert Store(store.root, store.database).layers.get(layer.chain_id) == layer


def test_images_without_their_directories_are_dropped_and_named(store: Store, tree: Tree) -> None:
    images = Images(store)
    base = make_image(images, tree({"x": "1"}), "base")
    web = make_image(images, tree({"x": "2"}), "web", base)
    other = make_image(images, tree({"x": "3"}), "other")
    shutil.rmtree(store.layers.get(base.chain_id or "").directory)
    opened = Store(store.root, store.database)
    assert set(opened.lost) == {base.id, web.id}
    assert [image.id for image in Images(opened).list()] == [other.id]
    assert len(list((store.root / "layers").iterdir())) == 1


def test_killed_at_any_moment(place: Path) -> None:
    """A process makes images and deletes them until it is killed; the store is whole every time."""
    program = """
import itertools, os, sys
from pathlib import Path
from labkernel.engine.database import Database
from labkernel.engine.image.config import new_config
from labkernel.engine.image.images import Images
from labkernel.engine.image.reference import parse_reference
from labkernel.engine.image.store import Store
place = Path(sys.argv[1])
images = Images(Store(place / "image", Database(place / "database")))
print("ready", flush=True)
for number in itertools.count():
    top = place / f"up{os.getpid()}-{number}"
    (top / "d").mkdir(parents=True)
    for file in range(20):
        (top / "d" / str(file)).write_text(f"{os.getpid()} {number} {file}")
    layer = images.store.layers.adopt(top, None)
    name = parse_reference(f"image:{os.getpid()}-{number}")
    images.create(new_config(diff_ids=[layer.diff_id]), reference=name)
    if number > 3:
        images.delete(f"image:{os.getpid()}-{number - 3}", lambda image: [])
"""
    for attempt in range(6):
        process = subprocess.Popen([sys.executable, "-c", program, str(place)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.05 + attempt * 0.037)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        database = Database(place / "database")
        store = Store(place / "image", database)
        assert store.lost == []
        images = Images(store)
        kept = images.list()
        for image in kept:
            for layer in images.layers(image):
                store.layers.pack(layer, io.BytesIO())
        assert len(list((place / "image" / "layers").iterdir())) == len(kept)
        assert list((place / "image" / "tmp").iterdir()) == []
        database.close()


def test_a_store_on_other_stores(store: Store, tree: Tree, place: Path) -> None:
    base = make_image(Images(store), tree({"x": "1"}), "base")
    foreign = io.BytesIO()
    below = LowerStore(store.root, place / "database")
    before = sorted((str(path), path.lstat().st_mtime_ns) for path in store.root.rglob("*"))

    database = Database(place / "upper-database")
    upper = Store(place / "upper", database, lower=[below])
    images = Images(upper)
    assert images.resolve("base") == base
    directory = upper.layers.get(base.chain_id or "").directory
    assert directory.parent == upper.layers.directory
    assert directory.is_symlink()
    assert (directory / "x").samefile(store.layers.get(base.chain_id or "").directory / "x")
    upper.layers.pack(upper.layers.get(base.chain_id or ""), foreign)
    web = make_image(images, tree({"x": "2"}), "web", base)

    # Opened again, all is as it was, also when the lower store has moved.
    assert Images(Store(place / "upper", database, lower=[below])).resolve("web") == web
    os.rename(store.root, place / "moved")
    moved = LowerStore(place / "moved", place / "database")
    reopened = Store(place / "upper", database, lower=[moved])
    assert reopened.lost == []
    assert (reopened.layers.directories(web.chain_id)[1] / "x").read_text() == "1"

    # Deleting here leaves what is below alone.
    images = Images(reopened)
    images.delete("web", lambda image: [])
    images.delete("base", lambda image: [])
    assert images.list() == []
    assert list((place / "upper" / "layers").iterdir()) == []
    os.rename(place / "moved", store.root)
    assert before == sorted((str(path), path.lstat().st_mtime_ns) for path in store.root.rglob("*"))

    # Without the lower store its images are gone, and those built on them.
    images = Images(Store(place / "upper", database, lower=[below]))
    web = make_image(images, tree({"x": "2"}), "web", base)
    shutil.rmtree(store.root)
    assert set(Store(place / "upper", database).lost) == {base.id, web.id}
    database.close()


def test_only_the_named_images_of_a_lower_store_are_seen(store: Store, tree: Tree, place: Path) -> None:
    """With the layers they stand on, and nothing of the others."""
    images = Images(store)
    base = make_image(images, tree({"x": "1"}), "base")
    web = make_image(images, tree({"x": "2"}), "web", base)
    make_image(images, tree({"x": "3"}), "other", base)
    database = Database(place / "upper-database")
    below = LowerStore(store.root, place / "database", frozenset({"docker.io/library/web:latest"}))
    upper = Store(place / "upper", database, lower=[below])
    assert Images(upper).resolve("web") == web
    assert sorted(row["reference"] for row in database.rows("SELECT * FROM image_references")) == [
        "docker.io/library/web:latest"
    ]
    assert [row["id"] for row in database.rows("SELECT id FROM images")] == [web.id]
    assert len(list((place / "upper" / "layers").iterdir())) == 2
    database.close()


def test_names_here_win_over_names_below(store: Store, tree: Tree, place: Path) -> None:
    make_image(Images(store), tree({"x": "1"}), "web")
    database = Database(place / "upper-database")
    mine = make_image(Images(Store(place / "upper", database)), tree({"x": "2"}), "web")
    upper = Store(place / "upper", database, lower=[LowerStore(store.root, place / "database")])
    assert Images(upper).resolve("web") == mine
    assert len(Images(upper).list()) == 2
    database.close()
