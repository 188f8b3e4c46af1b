"""Layers: made by rename, unpacked, packed again, stacked by overlayfs for real."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labkernel.engine.database import Database
from labkernel.engine.errors import InvalidParameter, NotFound, System
from labkernel.engine.image.layers import Layer
from labkernel.engine.image.store import Store
from tests.engine.image.conftest import Tree


def packed(store: Store, layer: Layer) -> bytes:
    out = io.BytesIO()
    store.layers.pack(layer, out)
    return out.getvalue()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def foreign_tar(*names: str) -> bytes:
    """An archive that our writer does not write: names of users, another order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size, info.uname = 7, "somebody"
            archive.addfile(info, io.BytesIO(b"content"))
    return buffer.getvalue()


@contextmanager
def overlay(
    store: Store, chain_id: str | None, place: Path, options: str = ""
) -> Iterator[tuple[Path, Path]]:
    """The layers mounted with a fresh upper directory: gives the mount point and the upper directory."""
    upper, work, merged = place / "upper", place / "work", place / "merged"
    for directory in (upper, work, merged):
        directory.mkdir()
    lower = ":".join(path.name for path in store.layers.directories(chain_id))
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(
        ["mount", "-t", "overlay", "-o", f"{options},redirect_dir=off", "overlay", merged],
        check=True,
        cwd=store.layers.directory,
    )
    try:
        yield merged, upper
    finally:
        subprocess.run(["umount", merged], check=True)
        shutil.rmtree(work)
        merged.rmdir()


def contents(top: Path) -> dict[str, str]:
    return {str(path.relative_to(top)): path.read_text() for path in sorted(top.rglob("*")) if path.is_file()}


def test_adopting_moves_the_directory(store: Store, tree: Tree) -> None:
    top = tree({"etc/motd": "hello", "big": "x" * 3000})
    inode = (top / "big").stat().st_ino
    layer = store.layers.adopt(top, None)
    assert not top.exists()
    assert (layer.directory / "big").stat().st_ino == inode
    assert layer.size == 3005
    assert layer.chain_id == layer.diff_id == digest(packed(store, layer))
    assert layer.tar_size == len(packed(store, layer))
    assert re.fullmatch(r"\d+", layer.directory.name)
    assert store.layers.get(layer.chain_id) == layer


def test_the_same_content_is_stored_once(store: Store, tree: Tree) -> None:
    one, other = tree({"x": "1"}), tree({"x": "1"})
    layer = store.layers.adopt(one, None)
    assert store.layers.adopt(other, None) == layer
    assert not other.exists()
    assert len(list(store.layers.directory.iterdir())) == 1


def test_a_chain_is_given_top_first(store: Store, tree: Tree) -> None:
    base = store.layers.adopt(tree({"x": "1"}), None)
    middle = store.layers.adopt(tree({"x": "2"}), base.chain_id)
    top = store.layers.adopt(tree({"x": "1"}), middle.chain_id)
    assert top.diff_id == base.diff_id
    assert store.layers.directories(top.chain_id) == [top.directory, middle.directory, base.directory]
    assert store.layers.directories(None) == []
    assert middle.chain_id == digest(f"{base.chain_id} {middle.diff_id}".encode())


def test_unknown_layers(store: Store, tree: Tree) -> None:
    unknown = "sha256:" + "0" * 64
    for call in (store.layers.get, store.layers.directories):
        with pytest.raises(NotFound, match="layer does not exist"):
            call(unknown)
    with pytest.raises(NotFound, match="layer does not exist"):
        store.layers.adopt(tree({}), unknown)


def test_source_date_epoch(store: Store, tree: Tree) -> None:
    one, other = tree({"x": "1"}), tree({"x": "1"})
    os.utime(one / "x", (5_000, 5_000))
    os.utime(other / "x", (6_000, 6_000))
    assert store.layers.adopt(one, None, newest=1_000) == store.layers.adopt(other, None, newest=1_000)


def test_what_a_container_does_becomes_a_layer(store: Store, tree: Tree, place: Path) -> None:
    base = store.layers.adopt(
        tree({"keep": "1", "gone": "2", "dir/a": "3", "dir/b": "4", "changed": "5", "replaced/x": "6"}), None
    )
    with overlay(store, base.chain_id, place) as (merged, upper):
        (merged / "gone").unlink()
        (merged / "dir" / "a").unlink()
        (merged / "changed").write_text("changed")
        subprocess.run(["rm", "-r", merged / "replaced"], check=True)
        (merged / "replaced").mkdir()
        (merged / "replaced" / "y").write_text("7")
        (merged / "new").write_text("8")
        expected = contents(merged)
    layer = store.layers.adopt(upper, base.chain_id)
    with tarfile.open(fileobj=io.BytesIO(packed(store, layer))) as archive:
        listed = archive.getnames()
    assert {".wh.gone", "dir/.wh.a", "replaced/.wh..wh..opq", "new", "changed"} <= set(listed)
    with overlay(store, layer.chain_id, place) as (merged, _):
        assert contents(merged) == expected
    (place / "upper").rmdir()

    # The same layer, unpacked from its archive: overlayfs shows the same again.
    other_database = Database(place / "other-database")
    other = Store(place / "other", other_database)
    copies = [
        other.layers.unpack(io.BytesIO(packed(store, base)), None, expected_diff_id=base.diff_id),
        other.layers.unpack(
            io.BytesIO(gzip.compress(packed(store, layer))), base.chain_id, expected_diff_id=layer.diff_id
        ),
    ]
    assert [copy.chain_id for copy in copies] == [base.chain_id, layer.chain_id]
    assert [copy.blob for copy in copies] == [None, None]
    with overlay(other, layer.chain_id, place) as (merged, _):
        assert contents(merged) == expected
    other_database.close()


def test_whiteouts_in_a_user_namespace(place: Path, store: Store, tree: Tree) -> None:
    """Unpacked and mounted by a process without privilege on the machine: userxattr, no CAP_MKNOD."""
    base = store.layers.adopt(tree({"gone": "1", "dir/old": "2", "kept": "3"}), None)
    upper = tree({"dir/new": "4"})
    os.mknod(upper / "gone", 0o20600, 0)
    os.setxattr(upper / "dir", "trusted.overlay.opaque", b"y")
    layer = store.layers.adopt(upper, base.chain_id)
    (place / "base.tar").write_bytes(packed(store, base))
    (place / "layer.tar").write_bytes(packed(store, layer))
    program = """
import subprocess, sys
from pathlib import Path
from labkernel.engine.database import Database
from labkernel.engine.image.store import Store
place = Path(sys.argv[1])
store = Store(place / "user", Database(place / "user-database"), userxattr=True)
chain = None
for name in ("base.tar", "layer.tar"):
    with (place / name).open("rb") as tar:
        chain = store.layers.unpack(tar, chain, expected_diff_id=sys.argv[2 if chain is None else 3]).chain_id
lower = ":".join(str(path) for path in store.layers.directories(chain))
merged = place / "merged"
merged.mkdir()
subprocess.run(["mount", "-t", "overlay", "-o", f"userxattr,lowerdir={lower}", "overlay", merged], check=True)
print(sorted(str(path.relative_to(merged)) for path in merged.rglob("*")))
"""
    command = [sys.executable, "-c", program, str(place), base.diff_id, layer.diff_id]
    ended = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", *command], capture_output=True, text=True
    )
    assert ended.stdout.strip() == "['dir', 'dir/new', 'kept']", ended.stderr


def test_roots_layers_below_a_users_overlay(place: Path, store: Store, tree: Tree) -> None:
    """A store that root filled shows the same in overlays with userxattr, as graders mount them."""
    base = store.layers.adopt(tree({"gone": "1", "dir/old": "2", "kept": "3"}), None)
    with overlay(store, base.chain_id, place) as (merged, upper):
        (merged / "gone").unlink()
        shutil.rmtree(merged / "dir")
        (merged / "dir").mkdir()
        (merged / "dir" / "new").write_text("4")
    layer = store.layers.adopt(upper, base.chain_id)
    packed(store, layer)
    lower = ":".join(str(path) for path in store.layers.directories(layer.chain_id))
    (place / "shown").mkdir()
    script = (
        f"mount -t overlay -o userxattr,lowerdir={lower} overlay {place}/shown && find {place}/shown -type f"
    )
    ended = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        capture_output=True,
        text=True,
    )
    assert sorted(ended.stdout.split()) == [f"{place}/shown/dir/new", f"{place}/shown/kept"], ended.stderr


def test_an_archive_that_packs_differently_is_kept(store: Store) -> None:
    data = foreign_tar("b", "a")
    layer = store.layers.unpack(io.BytesIO(data), None, expected_diff_id=digest(data))
    assert layer.diff_id == digest(data)
    assert layer.blob is not None
    assert store.blobs.has(layer.blob.digest)
    assert packed(store, layer) == data
    store.layers.settle([layer.chain_id])
    assert store.layers.collect() == [layer.chain_id]
    assert store.blobs.digests() == []


def test_an_archive_without_a_digest_gets_ours(store: Store) -> None:
    layer = store.layers.unpack(io.BytesIO(gzip.compress(foreign_tar("b", "a"))), None)
    assert layer.blob is None
    assert digest(packed(store, layer)) == layer.diff_id
    assert contents(layer.directory) == {"a": "content", "b": "content"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (foreign_tar("a", "../b"), "leads outside"),
        (foreign_tar("a", "b")[:1537], "unexpected EOF"),
        (gzip.compress(foreign_tar("a"), mtime=0)[:-9], "gzip: unexpected EOF"),
        (foreign_tar("a"), "invalid diffID for layer"),
    ],
)
def test_of_a_bad_archive_nothing_stays(store: Store, data: bytes, message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        store.layers.unpack(io.BytesIO(data), None, expected_diff_id="sha256:" + "0" * 64)
    for directory in ("layers", "tmp", "blobs/sha256"):
        assert list((store.root / directory).iterdir()) == []


def test_tampering_is_noticed(store: Store, tree: Tree) -> None:
    layer = store.layers.adopt(tree({"x": "1"}), None)
    (layer.directory / "x").write_text("2")
    with pytest.raises(System, match="was changed on disk"):
        packed(store, layer)


def test_capturing_leaves_the_directory_in_use(store: Store, tree: Tree) -> None:
    top = tree({"a/b": "1"})
    os.mknod(top / "gone", 0o20600, 0)
    os.setxattr(top / "a", "trusted.overlay.opaque", b"y")
    os.chown(top / "a", 5, 6)
    layer = store.layers.capture(top, None)
    assert contents(top) == contents(layer.directory) == {"a/b": "1"}
    assert stat.S_ISCHR((layer.directory / "gone").lstat().st_mode)
    assert store.layers.adopt(top, None) == layer


def test_capturing_a_bad_directory_fails_whole(store: Store, tree: Tree) -> None:
    top = tree({"a/b": "1"})
    os.setxattr(top / "a", "trusted.overlay.redirect", b"/x")
    with pytest.raises(System, match="redirect"):
        store.layers.capture(top, None)
    assert list((store.root / "tmp").iterdir()) == []


def test_layers_go_when_nothing_needs_them(store: Store, tree: Tree) -> None:
    base = store.layers.adopt(tree({"x": "1"}), None)
    top = store.layers.adopt(tree({"x": "2"}), base.chain_id)
    assert store.layers.collect() == []
    store.layers.hold(top.chain_id, "container")
    store.layers.settle([base.chain_id, top.chain_id])
    assert store.layers.collect() == []
    assert store.layers.release("container")
    assert len(store.layers.collect()) == 2
    assert list(store.layers.directory.iterdir()) == []
    assert not store.layers.want(base.chain_id)


def test_two_threads_making_the_same_layer(store: Store, tree: Tree) -> None:
    tops = [tree({str(number): "x" for number in range(50)}) for _ in range(4)]
    for top in tops:
        os.utime(top, (5, 5))
    made: list[Layer] = []
    threads = [
        threading.Thread(target=lambda top=top: made.append(store.layers.adopt(top, None))) for top in tops
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 1
    assert len(made) == 4
    assert len(list(store.layers.directory.iterdir())) == 1


def test_threads_take_no_locks_crosswise(store: Store, tree: Tree) -> None:
    """A caller's transaction around hold and release, beside a thread that looks for layers."""
    layer = store.layers.adopt(tree({"x": "1"}), None)
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            store.layers.want(layer.chain_id)
            store.layers.collect()

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    for number in range(200):
        with store.database.transaction():
            store.layers.hold(layer.chain_id, f"container {number}")
            store.layers.release(f"container {number}")
    done.set()
    looking.join(10)
    assert not looking.is_alive()
