"""The kernel's overlayfs is the oracle: it shows the same directories mounted."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from labkernel.engine.build.rootfs import Rootfs
from labkernel.engine.build.sources import File, walk
from labkernel.engine.image.whiteouts import Overlay

pytestmark = pytest.mark.usefixtures("root")

OVERLAY = Overlay(userxattr=False)

# Lists a mounted overlay: a program of its own, since the mount is made in a mount namespace of its own.
LIST = """
import json, os, stat, sys
found = {}
for directory, folders, files in os.walk(sys.argv[1]):
    for name in folders + files:
        path = os.path.join(directory, name)
        status = os.lstat(path)
        found[os.path.relpath(path, sys.argv[1])] = (
            oct(status.st_mode), status.st_uid, status.st_gid,
            os.readlink(path) if stat.S_ISLNK(status.st_mode) else
            open(path).read() if stat.S_ISREG(status.st_mode) else "",
        )
print(json.dumps(found))
"""


def mounted(layers: list[Path], place: Path) -> dict[str, list[object]]:
    """What overlayfs shows of layers, top first."""
    place.mkdir(exist_ok=True)
    script = 'mount -t overlay overlay -o "lowerdir=$1" "$2" && exec "$3" -c "$4" "$2"'
    lower = ":".join(str(layer) for layer in [*layers, place.parent / "none"])
    (place.parent / "none").mkdir(exist_ok=True)
    answer = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", lower, place, sys.executable, LIST],
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, list[object]] = json.loads(answer.stdout)
    return found


def listed(rootfs: Rootfs) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    top = rootfs.find("")
    assert top
    kinds = {
        b"0": stat.S_IFREG,
        b"5": stat.S_IFDIR,
        b"2": stat.S_IFLNK,
        b"6": stat.S_IFIFO,
        b"3": stat.S_IFCHR,
    }
    for item in walk(rootfs, top):
        file = item.file
        content = rootfs.read_at(item, 0, 1000).decode() if file.type == b"0" else file.linkname
        found[item.path] = [oct(kinds[file.type] | file.mode), file.uid, file.gid, content]
    return found


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    """Three layers, top first, with everything that overlayfs knows."""
    bottom, middle, top = (tmp_path / name for name in ("1", "2", "3"))
    for path in ("a/b/c", "gone", "opaque/x", "replaced/dir", "usr/bin"):
        (bottom / path).mkdir(parents=True)
    (bottom / "a/b/c/file").write_text("bottom")
    (bottom / "a/both").write_text("bottom")
    (bottom / "gone/file").write_text("x")
    (bottom / "opaque/x/file").write_text("x")
    (bottom / "replaced/dir/file").write_text("x")
    (bottom / "usr/bin/tool").write_text("tool")
    (bottom / "bin").symlink_to("usr/bin")
    (bottom / "abs").symlink_to("/a/b")
    (bottom / "out").symlink_to("../../../../usr")
    (bottom / "loop").symlink_to("loop")
    (middle / "a/b").mkdir(parents=True)
    (middle / "a/both").write_text("middle")
    os.mknod(middle / "gone", stat.S_IFCHR | 0o600, os.makedev(0, 0))
    (middle / "opaque").mkdir()
    os.setxattr(middle / "opaque", "trusted.overlay.opaque", b"y")
    (middle / "opaque/new").write_text("new")
    (middle / "replaced").mkdir()
    (middle / "replaced/dir").write_text("now a file")
    os.mkfifo(middle / "fifo")
    (top / "a/b/c").mkdir(parents=True)
    os.mknod(top / "a/b/c/file", stat.S_IFCHR | 0o600, os.makedev(0, 0))
    os.chown(top / "a", 5, 6)
    (top / "a").chmod(0o2751)
    (top / "gone").mkdir()
    (top / "gone/again").write_text("again")
    (top / "replaced/dir").mkdir(parents=True)
    (top / "replaced/dir/inner").write_text("inner")
    return [top, middle, bottom]


def test_the_merged_view_is_the_kernels(layers: list[Path], tmp_path: Path) -> None:
    assert listed(Rootfs(layers, overlay=OVERLAY)) == mounted(layers, tmp_path / "mnt")


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("a/both", b"middle"),
        ("/bin/tool", b"tool"),
        ("out/bin/tool", b"tool"),
        ("abs/../both", b"middle"),
        ("a/b/c/file", None),
        ("loop", None),
        ("a/both/x", None),
        ("a", None),
        ("nothing", None),
    ],
)
def test_reading_follows_links_inside(layers: list[Path], path: str, content: bytes | None) -> None:
    assert Rootfs(layers, overlay=OVERLAY).read(path) == content


def test_writing_is_seen_like_the_kernel_shows_it(layers: list[Path], tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    upper.mkdir()
    rootfs = Rootfs(layers, upper=upper, overlay=OVERLAY)
    deep = rootfs.make_directories("a/b/new/deeper", (7, 8))
    rootfs.put(deep, "file", File(mode=0o4755, size=2, mtime=10**9), (1, 2), lambda out: _write(out, b"hi"))
    rootfs.put(
        rootfs.make_directories("bin"), "tool", File(mode=0o600), (0, 0), lambda out: _write(out, b"new")
    )
    rootfs.put(rootfs.top, "link", File(type=b"2", linkname="to"), (3, 4))
    rootfs.put(rootfs.top, "replaced", File(mode=0o644), (0, 0), lambda out: _write(out, b"a file"))
    rootfs.put_directory(rootfs.top, "fifo", File(type=b"5", mode=0o1777), (9, 9))
    rootfs.put_directory(rootfs.top, "opaque", File(type=b"5", mode=0o700), (0, 0))
    real = rootfs.put(rootfs.top, "one", File(), (0, 0), lambda out: _write(out, b"linked"))
    rootfs.link(rootfs.top, "two", real)
    rootfs.finish()
    shown = mounted([upper, *layers], tmp_path / "mnt")
    assert listed(rootfs) == shown
    assert listed(Rootfs([upper, *layers], overlay=OVERLAY)) == shown
    assert shown["a"][:3] == [oct(stat.S_IFDIR | 0o2751), 5, 6], "copied up as it was"
    assert shown["a/b/new/deeper/file"] == [oct(stat.S_IFREG | 0o4755), 1, 2, "hi"]
    assert shown["a/b/new"][:3] == [oct(stat.S_IFDIR | 0o755), 7, 8]
    assert shown["usr/bin/tool"][3] == "new", "the link was followed"
    assert shown["replaced"][3] == "a file"
    assert (upper / "a/b/new/deeper/file").stat().st_mtime == 1
    assert (upper / "one").stat().st_ino == (upper / "two").stat().st_ino


def _write(out: int, data: bytes) -> None:
    os.write(out, data)


def test_files_replace_what_this_layer_has_itself(tmp_path: Path) -> None:
    rootfs = Rootfs([], upper=tmp_path, overlay=OVERLAY)
    directory = rootfs.put_directory(rootfs.top, "x", File(type=b"5", mode=0o755, mtime=5 * 10**9), (0, 0))
    rootfs.put(directory, "inner", File(), (0, 0))
    rootfs.put(rootfs.top, "x", File(type=b"2", linkname="elsewhere"), (0, 0))
    rootfs.finish()
    assert os.readlink(tmp_path / "x") == "elsewhere"
    rootfs.put_directory(rootfs.top, "x", File(type=b"5", mode=0o755, mtime=5 * 10**9), (0, 0))
    rootfs.finish()
    assert (tmp_path / "x").stat().st_mtime == 5


def test_a_file_in_the_way_of_a_folder(tmp_path: Path) -> None:
    rootfs = Rootfs([], upper=tmp_path, overlay=OVERLAY)
    rootfs.put(rootfs.top, "x", File(), (0, 0))
    with pytest.raises(NotADirectoryError):
        rootfs.make_directories("x/y")
    with pytest.raises(NotADirectoryError):
        rootfs.make_directories("x")


def test_without_ownership_everything_is_the_callers(tmp_path: Path) -> None:
    rootfs = Rootfs([], upper=tmp_path, overlay=OVERLAY, keep_ownership=False)
    rootfs.put(rootfs.make_directories("d", (5, 5)), "f", File(), (6, 6))
    assert (tmp_path / "d").stat().st_uid == os.getuid()
    assert (tmp_path / "d/f").stat().st_uid == os.getuid()


def test_capabilities_are_copied_up_and_other_marks_are_not(tmp_path: Path) -> None:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    (lower / "d").mkdir(parents=True)
    upper.mkdir()
    os.setxattr(lower / "d", "user.note", b"kept")
    os.setxattr(lower / "d", "trusted.overlay.opaque", b"y")
    rootfs = Rootfs([lower], upper=upper, overlay=OVERLAY)
    rootfs.put(rootfs.make_directories("d"), "f", File(xattrs={"user.x": b"1"}), (0, 0))
    assert os.listxattr(upper / "d") == ["user.note"]
    assert os.getxattr(upper / "d/f", "user.x") == b"1"
