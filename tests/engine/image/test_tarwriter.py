"""Packing trees: the same bytes for the same tree, read again as they were, by us and by GNU tar."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import socket
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkernel.engine.errors import System
from labkernel.engine.image.changeset import extract_tar
from labkernel.engine.image.tarwriter import write_tar
from labkernel.engine.image.whiteouts import Overlay
from tests.engine.image.conftest import Tree

OVERLAY = Overlay(userxattr=False)


def packed(top: Path, path: str = "/", **options: object) -> bytes:
    out = io.BytesIO()
    write_tar(top, path, out, **{"name": "", **options})  # type: ignore[arg-type]
    return out.getvalue()


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [member.name + ("/" if member.isdir() else "") for member in archive]


def test_the_same_tree_gives_the_same_bytes(tree: Tree) -> None:
    files = {"b": "2", "a/x": "1", "a/y/z": "3", "empty/": ""}
    one, other = tree(files), tree(dict(reversed(files.items())))
    for top in (one, other):
        for directory in ("a", "a/y", "empty"):
            os.utime(top / directory, (5, 5))
    assert packed(one) == packed(other)
    assert names(packed(one)) == ["a/", "b", "empty/", "a/x", "a/y/", "a/y/z"]


def test_content_size_is_returned(tree: Tree) -> None:
    top = tree({"a": "12345", "b/c": "678"})
    os.link(top / "a", top / "d")
    (top / "link").symlink_to("target")
    assert write_tar(top, "/", io.BytesIO(), name="") == 5 + 3 + len("target")


def test_all_kinds_survive_the_way_there_and_back(tree: Tree, place: Path) -> None:
    top = tree({"f": "text", "d/": ""})
    os.link(top / "f", top / "d" / "hard")
    (top / "link").symlink_to("/nowhere/" + "x" * 200)
    os.mkfifo(top / "fifo", 0o640)
    os.mknod(top / "null", 0o20666, os.makedev(1, 3))
    os.chown(top / "link", 70, 80, follow_symlinks=False)
    os.setxattr(top / "f", "user.note", b"\x00\xff")
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    os.setxattr(top / "f", "security.capability", capability)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(top / "socket"))
    data = packed(top)
    copy = place / "copy"
    copy.mkdir()
    extract_tar(io.BytesIO(data), copy)
    assert packed(copy) == data
    assert not (copy / "socket").exists()
    assert (copy / "f").samefile(copy / "d" / "hard")
    assert os.getxattr(copy / "f", "security.capability") == capability
    assert (copy / "link").lstat().st_uid == 70


def test_gnu_tar_sees_no_difference(tree: Tree) -> None:
    top = tree({"a/b": "1", "é" * 60 + "/" + "n" * 200: "2", "c": "x" * 100_000})
    ended = subprocess.run(["tar", "--compare", "--directory", top], input=packed(top), capture_output=True)
    assert (ended.returncode, ended.stdout) == (0, b""), ended


def test_one_file_or_directory_under_a_name_of_choice(tree: Tree) -> None:
    top = tree({"etc/hosts": "x", "etc/d/y": "y"})
    (top / "link").symlink_to("/etc")
    assert names(packed(top, "/etc/hosts", name=None)) == ["hosts"]
    assert names(packed(top, "/link/hosts", name="other")) == ["other"]
    assert names(packed(top, "etc", name=None)) == ["etc/", "etc/d/", "etc/hosts", "etc/d/y"]
    assert names(packed(top, "/etc/", name="")) == ["d/", "hosts", "d/y"]
    assert names(packed(top, "/link", name=None)) == ["link"]
    with pytest.raises(FileNotFoundError):
        packed(top, "/nowhere")
    with pytest.raises(System, match="only a directory"):
        packed(top, "/etc/hosts", name="")


def test_paths_stay_inside_the_root(tree: Tree, place: Path) -> None:
    (place / "secret").write_text("secret")
    top = tree({"x": ""})
    (top / "up").symlink_to("..")
    with pytest.raises(FileNotFoundError):
        packed(top, "/up/../../secret", name=None)


def test_overlay_marks_become_whiteouts(tree: Tree) -> None:
    top = tree({"d/new": "x", "e/f": ""})
    os.mknod(top / "gone", 0o20600, 0)
    os.mknod(top / "e" / "also", 0o20600, 0)
    os.setxattr(top / "d", "trusted.overlay.opaque", b"y")
    os.setxattr(top / "e" / "f", "trusted.overlay.origin", b"whatever")
    assert names(packed(top, overlay=OVERLAY)) == [
        "d/",
        "d/.wh..wh..opq",
        "e/",
        ".wh.gone",
        "d/new",
        "e/.wh.also",
        "e/f",
    ]
    os.setxattr(top, "trusted.overlay.opaque", b"y")
    assert names(packed(top, overlay=OVERLAY))[0] == ".wh..wh..opq"
    assert "gone" in names(packed(top))


@pytest.mark.parametrize("mark", ["redirect", "metacopy"])
def test_content_that_is_elsewhere_is_refused(tree: Tree, mark: str) -> None:
    top = tree({"d/x": ""})
    os.setxattr(top / "d", f"trusted.overlay.{mark}", b"/elsewhere")
    with pytest.raises(System, match=re.escape(mark)):
        packed(top, overlay=OVERLAY)


def test_younger_files_are_set_back(tree: Tree) -> None:
    top = tree({"new": "x", "d/old": "y"})
    os.utime(top / "d" / "old", (100, 100))
    (top / "link").symlink_to("new")
    data = packed(top, newest=1000)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        times = {member.name: member.mtime for member in archive}
    assert times == {"d": 1000, "link": 1000, "new": 1000, "d/old": 100}
    assert packed(top) == data


def test_other_file_systems_are_left_out(tree: Tree) -> None:
    top = tree({"a": "", "mounted/": ""})
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", top / "mounted"], check=True)
    try:
        (top / "mounted" / "inside").write_text("")
        assert names(packed(top, one_file_system=True)) == ["a", "mounted/"]
        assert names(packed(top)) == ["a", "mounted/", "mounted/inside"]
    finally:
        subprocess.run(["umount", top / "mounted"], check=True)


def test_a_file_that_shrinks_meanwhile_keeps_its_promised_size(tree: Tree) -> None:
    top = tree({"log": "x" * 10_000})

    class Shrinking(io.BytesIO):
        def write(self, data: object, /) -> int:
            os.truncate(top / "log", 10)
            return super().write(data)  # type: ignore[arg-type]

    out = Shrinking()
    write_tar(top, "/", out, name="")
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        (member,) = archive.getmembers()
        assert member.size == 10_000


file_names = st.binary(min_size=1, max_size=120).filter(
    lambda name: (
        name not in (b".", b"..") and b"/" not in name and b"\0" not in name and not name.startswith(b".wh.")
    )
)
trees = st.recursive(
    st.binary(max_size=1500) | st.builds(lambda target: ("link", target), file_names),
    lambda below: st.dictionaries(file_names, below, max_size=4),
    max_leaves=12,
).filter(lambda tree: isinstance(tree, dict))


def build(path: bytes, node: object) -> None:
    if isinstance(node, dict):
        os.mkdir(path)
        for name, below in node.items():
            build(path + b"/" + name, below)
    elif isinstance(node, tuple):
        os.symlink(node[1], path)
    else:
        assert isinstance(node, bytes)
        with open(path, "wb") as file:
            file.write(node)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(tree=trees, overlay=st.sampled_from([None, OVERLAY]))
def test_any_tree_comes_back_as_it_was(memory: Path, tree: object, overlay: Overlay | None) -> None:
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        top, copy = Path(directory, "top"), Path(directory, "copy")
        build(bytes(top), tree)
        copy.mkdir()
        data = packed(top, overlay=overlay)
        extract_tar(io.BytesIO(data), copy, overlay=overlay)
        again = packed(copy, overlay=overlay)
        assert hashlib.sha256(data).hexdigest() == hashlib.sha256(again).hexdigest()
        shutil.rmtree(copy)
