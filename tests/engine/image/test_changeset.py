"""Unpacking archives: all kinds of entries, and hostile ones that must not get out."""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkernel.engine.errors import EngineError, InvalidParameter
from labkernel.engine.image.changeset import extract_tar
from labkernel.engine.image.tarformat import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    END,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    Entry,
    header,
    padding,
)
from labkernel.engine.image.whiteouts import Overlay
from tests.engine.image.conftest import Tree

Item = Entry | tuple[Entry, bytes]
OVERLAY = Overlay(userxattr=False)


def archive(*items: Item) -> io.BytesIO:
    data = b""
    for item in items:
        entry, content = item if isinstance(item, tuple) else (item, b"")
        entry.size = len(content)
        data += header(entry) + content + bytes(padding(len(content)))
    return io.BytesIO(data + END)


def file(name: str, content: bytes = b"", **fields: Any) -> tuple[Entry, bytes]:
    return Entry(name.encode(), REGULAR, **{"mode": 0o644, **fields}), content


def directory(name: str, **fields: Any) -> Entry:
    return Entry(name.encode() + b"/", DIRECTORY, **{"mode": 0o755, **fields})


def symlink(name: str, target: str) -> Entry:
    return Entry(name.encode(), SYMLINK, linkname=target.encode())


def hard_link(name: str, target: str) -> Entry:
    return Entry(name.encode(), HARD_LINK, linkname=target.encode())


@pytest.fixture
def target(place: Path) -> Path:
    """The target; beside it `outside`, which nothing may touch."""
    (place / "outside").mkdir()
    (place / "outside" / "secret").write_text("secret")
    (place / "target").mkdir()
    return place / "target"


def contents(top: Path) -> dict[str, str]:
    return {str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file()}


def untouched(target: Path) -> bool:
    outside = target.parent / "outside"
    return contents(outside) == {"secret": "secret"} and (outside / "secret").stat().st_nlink == 1


def test_every_kind_of_entry(target: Path) -> None:
    billion = 1_000_000_000_000_000_000
    items: Sequence[Item] = [
        directory("d", mode=0o1777, uid=12, gid=34, mtime=billion),
        file("d/f", b"content", mode=0o4755, uid=1000, gid=1001, mtime=billion),
        hard_link("d/h", "d/f"),
        symlink("l", "/d/f"),
        Entry(b"p", FIFO, mode=0o620),
        Entry(b"c", CHARACTER, mode=0o666, major=1, minor=3),
        Entry(b"b", BLOCK_DEVICE, mode=0o660, major=7, minor=0, gid=6),
    ]
    result = extract_tar(archive(*items), target)
    assert result == (7 + len("/d/f"), 7, [])
    status = (target / "d").stat()
    assert (status.st_mode, status.st_uid, status.st_gid) == (stat.S_IFDIR | 0o1777, 12, 34)
    assert status.st_mtime_ns == billion
    status = (target / "d" / "f").stat()
    assert (status.st_mode, status.st_uid, status.st_gid) == (stat.S_IFREG | 0o4755, 1000, 1001)
    assert (status.st_mtime_ns, status.st_nlink) == (billion, 2)
    assert os.readlink(target / "l") == "/d/f"
    assert stat.S_IFMT((target / "p").lstat().st_mode) == stat.S_IFIFO
    assert stat.S_IMODE((target / "p").lstat().st_mode) == 0o620
    assert (target / "c").stat().st_rdev == os.makedev(1, 3)
    status = (target / "b").stat()
    assert (stat.S_IFMT(status.st_mode), status.st_rdev, status.st_gid) == (stat.S_IFBLK, os.makedev(7, 0), 6)


def test_capabilities_survive_the_change_of_owner(target: Path) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    entry = Entry(b"ping", mode=0o755, uid=5, xattrs={"security.capability": capability, "user.note": b"x"})
    extract_tar(archive(entry), target)
    assert os.getxattr(target / "ping", "security.capability") == capability
    assert os.getxattr(target / "ping", "user.note") == b"x"


def test_overlayfs_attributes_in_an_archive_are_not_set(target: Path) -> None:
    xattrs = {
        "trusted.overlay.opaque": b"y",
        "user.overlay.opaque": b"y",
        "trusted.overlay.redirect": b"/",
        "security.selinux": b"x",
    }
    extract_tar(archive(Entry(b"d/", DIRECTORY, mode=0o755, xattrs=xattrs)), target)
    assert os.listxattr(target / "d") == []


def test_gnu_tar_agrees(place: Path, tree: Tree) -> None:
    top = tree({"a/b": "1", "a/c": "2" * 5000, "é/ü": "3", "n" * 200 + "/" + "m" * 200: "4"})
    os.link(top / "a" / "b", top / "hard")
    for tar_format in ("gnu", "pax", "ustar"):
        if tar_format == "ustar":
            (top / ("n" * 200) / ("m" * 200)).unlink()
            (top / ("n" * 200)).rmdir()
        data = subprocess.run(
            ["tar", "--create", f"--format={tar_format}", "--directory", top, "."],
            check=True,
            capture_output=True,
        ).stdout
        target = place / tar_format
        target.mkdir()
        extract_tar(io.BytesIO(data), target)
        assert contents(target) == contents(top)
        assert (target / "hard").samefile(target / "a" / "b")


def test_missing_parents_are_made(target: Path) -> None:
    extract_tar(archive(file("a/b/c", b"x")), target)
    assert contents(target) == {"a/b/c": "x"}
    assert stat.S_IMODE((target / "a").stat().st_mode) == 0o755


def test_missing_parents_are_as_in_the_layers_below(target: Path, tree: Tree) -> None:
    lower = tree({"tmp/": "", "etc": "a file"})
    (lower / "tmp").chmod(0o1777)
    os.chown(lower / "tmp", 3, 4)
    extract_tar(archive(file("tmp/x"), file("etc/x")), target, overlay=OVERLAY, lower=[lower])
    status = (target / "tmp").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o1777, 3, 4)
    assert stat.S_IMODE((target / "etc").stat().st_mode) == 0o755


def test_missing_parents_make_the_same_layer_every_time(target: Path) -> None:
    extract_tar(archive(file("a/b", mtime=7_000_000_000)), target)
    assert (target / "a").stat().st_mtime == 7


def test_links_in_the_layers_below_are_not_followed(target: Path, tree: Tree) -> None:
    lower = tree({})
    (target.parent / "outside").chmod(0o711)
    (lower / "d").symlink_to(target.parent)
    extract_tar(archive(file("d/outside/x")), target, overlay=OVERLAY, lower=[lower])
    assert stat.S_IMODE((target / "d" / "outside").stat().st_mode) == 0o755


def test_later_entries_replace_earlier_ones(target: Path) -> None:
    extract_tar(
        archive(
            file("a", b"1"),
            file("a", b"2"),
            directory("b"),
            file("b/x"),
            file("b", b"now a file"),
            file("c", b"a file"),
            directory("c"),
            file("c/x", b"in it"),
            symlink("d", "a"),
            file("d", b"no longer a link"),
        ),
        target,
    )
    assert contents(target) == {"a": "2", "b": "now a file", "c/x": "in it", "d": "no longer a link"}


def test_into_a_directory_inside_the_root(target: Path) -> None:
    (target / "home").mkdir()
    (target / "link").symlink_to("/home")
    extract_tar(archive(file("f", b"x"), symlink("up", "../.."), file("/abs", b"y")), target, "/link/")
    assert contents(target) == {"home/f": "x", "home/abs": "y"}
    with pytest.raises(FileNotFoundError):
        extract_tar(archive(file("f")), target, "/nowhere")


def test_docker_cp_does_not_replace_directories_by_files(target: Path) -> None:
    (target / "d").mkdir()
    (target / "f").write_text("")
    with pytest.raises(InvalidParameter, match='cannot overwrite directory "/d" with non-directory "/d"'):
        extract_tar(archive(file("d")), target, no_overwrite_dir_non_dir=True)
    with pytest.raises(InvalidParameter, match='cannot overwrite non-directory "/f" with directory "/f"'):
        extract_tar(archive(directory("f")), target, no_overwrite_dir_non_dir=True)


def test_without_ownership_all_is_the_callers(target: Path) -> None:
    extract_tar(
        archive(directory("d", uid=5), file("f", uid=5), symlink("l", "x")), target, keep_ownership=False
    )
    assert {path.lstat().st_uid for path in target.iterdir()} == {os.geteuid()}


def test_a_limit_is_told_before_anything_is_written(target: Path) -> None:
    def limit(size: int, entries: int) -> None:
        if size > 1000:
            raise InvalidParameter(f"{size} bytes are too many")

    with pytest.raises(InvalidParameter, match="1500 bytes are too many"):
        extract_tar(archive(file("a", bytes(500)), file("b", bytes(1000))), target, limit=limit)
    assert set(contents(target)) == {"a"}


# --- whiteouts


def is_whiteout(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(path: Path) -> bool:
    return "trusted.overlay.opaque" in os.listxattr(path)


def test_whiteouts(target: Path) -> None:
    extract_tar(
        archive(
            file(".wh.gone"),
            file("d/.wh.gone"),
            file("e/.wh..wh..opq"),
            file("e/new", b"x"),
            file(".wh..wh.aufs"),
            directory(".wh..wh.plnk"),
        ),
        target,
        overlay=OVERLAY,
    )
    assert is_whiteout(target / "gone")
    assert is_whiteout(target / "d" / "gone")
    assert is_opaque(target / "e")
    assert not is_opaque(target / "d")
    assert {path.name for path in target.iterdir()} == {"gone", "d", "e"}


@pytest.mark.parametrize(
    "items",
    [
        [(Entry(b".wh.d"), b""), directory("d"), file("d/new", b"x")],
        [directory("d"), file("d/new", b"x"), (Entry(b".wh.d"), b"")],
        [(Entry(b".wh.d"), b""), file("d/new", b"x")],
        [file("d/new", b"x"), (Entry(b"d/.wh..wh..opq"), b"")],
    ],
)
def test_a_whiteout_hides_only_what_is_below(target: Path, items: list[Item]) -> None:
    extract_tar(archive(*items), target, overlay=OVERLAY)
    assert contents(target) == {"d/new": "x"}
    assert is_opaque(target / "d")


def test_a_file_beats_its_own_whiteout(target: Path) -> None:
    for items in ([file("f", b"x"), file(".wh.f")], [file(".wh.f"), file("f", b"x")]):
        extract_tar(archive(*items), target, overlay=OVERLAY)
        assert contents(target) == {"f": "x"}


def test_without_overlay_whiteouts_are_plain_files(target: Path) -> None:
    extract_tar(archive(file(".wh.gone", b"x")), target)
    assert contents(target) == {".wh.gone": "x"}


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh..."])
def test_a_whiteout_of_nothing(target: Path, name: str) -> None:
    with pytest.raises(InvalidParameter, match="a whiteout of nothing"):
        extract_tar(archive(file(f"d/{name}")), target, overlay=OVERLAY)


# --- hostile archives


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([file("../outside/secret", b"x")], "the name leads outside"),
        ([file("a/../../outside/secret", b"x")], "the name leads outside"),
        ([file("/../outside/secret", b"x")], "the name leads outside"),
        ([hard_link("x", "../outside/secret")], "the link's target leads outside"),
        ([hard_link("x", "/../outside/secret")], "the link's target leads outside"),
        ([hard_link("x", "nowhere")], "a hard link to 'nowhere', which is not there,"),
        ([directory("d"), hard_link("x", "d")], "a hard link to a directory"),
        ([hard_link("x", "")], "a hard link to nowhere"),
        ([Entry(b"l", SYMLINK)], "a symbolic link to nowhere"),
        ([Entry(b"/", REGULAR)], "no name"),
        ([file("n" * 300)], "file name too long"),
        ([file("n/" * 3000 + "x")], "file name too long"),
        ([file("f"), file("f/x")], "not a directory"),
        ([symlink("l", "../outside"), file("l/x")], "the link 'l' on its way leads nowhere,"),
        ([symlink("l", "l"), file("l/x")], "too many levels of symbolic links"),
        ([file("f", uid=2**40)], "a number too large for this system"),
    ],
)
def test_refused(target: Path, items: list[Item], message: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid tar archive: " + re.escape(message)) as raised:
        extract_tar(archive(*items), target)
    assert f"in entry {len(items)} " in raised.value.message
    assert untouched(target)


@pytest.mark.parametrize(
    "items",
    [
        [symlink("l", "/outside"), file("l/new", b"x")],
        [symlink("l", ".."), file("l/outside/new", b"x")],
        [symlink("l", "../outside"), file("l/new", b"x")],
        [symlink("l", "../outside/secret"), file("l", b"x")],
        [symlink("l", "../outside/secret"), hard_link("h", "l"), file("h", b"x")],
        [symlink("l", "../outside"), hard_link("h", "l/secret")],
        [symlink("a", "b"), symlink("b", "../outside"), file("a/new", b"x")],
        [directory("d"), file("d/x"), symlink("d", "../outside"), file("d/new", b"x")],
        [symlink("l", "../outside"), directory("l"), file("l/new", b"x")],
        [symlink("l", "/proc/self/cwd"), file("l/new", b"x")],
        [symlink("l", "../outside"), file("l/.wh.secret"), file("l/.wh..wh..opq")],
        [directory("a"), symlink("a/l", "/../../outside"), file("a/l/new", b"x")],
    ],
)
def test_links_lead_nowhere_outside(target: Path, items: list[Item]) -> None:
    for overlay in (None, OVERLAY):
        try:
            extract_tar(archive(*items), target, overlay=overlay)
        except InvalidParameter:
            assert untouched(target)
        assert untouched(target)


def test_a_directory_swapped_for_a_link_while_unpacking(target: Path) -> None:
    """Another process plays the container: it turns the directory into a link and back all the time."""
    (target / "d").mkdir()
    ended = threading.Event()

    def swap() -> None:
        while not ended.is_set():
            try:
                os.rename(target / "d", target / "kept")
                os.symlink("../outside", target / "d")
                os.unlink(target / "d")
                os.rename(target / "kept", target / "d")
            except OSError:
                continue

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for round_ in range(300):
            try:
                extract_tar(archive(file(f"d/{round_}", b"x"), file(f"d/sub{round_}/x")), target)
            except EngineError:
                continue
    finally:
        ended.set()
        swapper.join()
    assert untouched(target)


def test_devices_are_skipped_without_privilege(target: Path) -> None:
    program = (
        "import io, sys; from pathlib import Path; from labkernel.engine.image.changeset import extract_tar;"
        "print(extract_tar(sys.stdin.buffer, Path(sys.argv[1]), keep_ownership=False).skipped)"
    )
    data = archive(Entry(b"null", CHARACTER, mode=0o666, major=1, minor=3), file("f", b"x")).getvalue()
    ended = subprocess.run(
        ["setpriv", "--bounding-set=-mknod", sys.executable, "-c", program, str(target)],
        input=data,
        capture_output=True,
    )
    assert ended.stdout.decode().strip() == "['null']", ended.stderr.decode()
    assert contents(target) == {"f": "x"}


def test_no_space_is_said(target: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", target], check=True)
    try:
        with pytest.raises(EngineError, match="failed to unpack 'big': no space left on device"):
            extract_tar(archive(file("big", bytes(1 << 20))), target)
    finally:
        subprocess.run(["umount", target], check=True)


parts = st.sampled_from(["a", "b", "..", ".", "", "l"])
hostile_names = st.lists(parts, max_size=5).map("/".join) | st.sampled_from(["../outside/secret", "l/secret"])
hostile_entries = st.builds(
    lambda name, kind, target, content: (
        Entry(name.encode(), kind, mode=0o755, linkname=target.encode()),
        content if kind == REGULAR else b"",
    ),
    hostile_names,
    st.sampled_from([REGULAR, DIRECTORY, SYMLINK, HARD_LINK]),
    hostile_names | st.sampled_from(["/", "..", "../outside", "/outside/secret"]),
    st.binary(max_size=5),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(hostile_entries, max_size=8))
def test_no_archive_gets_out(place: Path, items: list[Item]) -> None:
    outside = place / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "secret").write_text("secret")
    target = place / "target"
    target.mkdir(exist_ok=True)
    with contextlib.suppress(InvalidParameter):
        extract_tar(archive(*items), target)
    assert untouched(target)
    assert {path.name for path in place.iterdir()} == {"outside", "target"}


def test_pythons_own_archive_of_a_tree(target: Path, tree: Tree) -> None:
    top = tree({"a/b": "1", "c": "2"})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as written:
        written.add(top, arcname=".")
    buffer.seek(0)
    extract_tar(buffer, target)
    assert contents(target) == {"a/b": "1", "c": "2"}
