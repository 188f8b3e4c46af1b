from __future__ import annotations

import io
import os
import stat
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkernel.engine.catalog.rootfs import Rootfs
from labkernel.engine.errors import System


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644, gid: int = 0
) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode, made.gid = kind, link, mode, gid
    return made


def archive(*members: tarfile.TarInfo, data: bytes = b"data") -> tarfile.TarFile:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as writing:
        for one in members:
            one.size = len(data) if one.isreg() else 0
            writing.addfile(one, io.BytesIO(data) if one.isreg() else None)
    return tarfile.open(fileobj=io.BytesIO(out.getvalue()))


def test_content_links_and_modes_are_unpacked(tmp_path: Path) -> None:
    Rootfs(tmp_path).extract(
        archive(
            member("./", tarfile.DIRTYPE, mode=0o755),
            member("./tmp", tarfile.DIRTYPE, mode=0o1777),
            member("./usr/bin/su", mode=0o4755),
            member("./usr/bin/su2", tarfile.LNKTYPE, "./usr/bin/su"),
            member("./usr/bin/sh", tarfile.SYMTYPE, "dash"),
        )
    )
    assert stat.S_IMODE((tmp_path / "tmp").stat().st_mode) == 0o1777
    assert stat.S_IMODE((tmp_path / "usr/bin/su").stat().st_mode) == 0o755
    assert (tmp_path / "usr/bin/su2").samefile(tmp_path / "usr/bin/su")
    assert os.readlink(tmp_path / "usr/bin/sh") == "dash"


def test_what_dpkg_has_to_make_itself_is_left_out(tmp_path: Path) -> None:
    Rootfs(tmp_path).extract(
        archive(
            member("./var/mail", tarfile.DIRTYPE, mode=0o2775, gid=8),
            member("./dev/null", tarfile.CHRTYPE),
            member("./dev/pipe", tarfile.FIFOTYPE),
        )
    )
    assert not (tmp_path / "var/mail").exists()
    assert not (tmp_path / "dev/null").exists()
    assert not (tmp_path / "dev/pipe").exists()


def test_bin_and_lib_become_links_into_usr(tmp_path: Path) -> None:
    rootfs = Rootfs(tmp_path, merge_usr=True)
    rootfs.extract(
        archive(member("./bin", tarfile.DIRTYPE, mode=0o755), member("./bin/cat"), member("./lib64/ld.so"))
    )
    rootfs.extract(archive(member("./bin", tarfile.SYMTYPE, "usr/bin"), member("./usr/bin/dog")))
    assert os.readlink(tmp_path / "bin") == "usr/bin"
    assert os.readlink(tmp_path / "lib64") == "usr/lib64"
    assert {file.name for file in (tmp_path / "bin").iterdir()} == {"cat", "dog"}
    assert not (tmp_path / "lib32").exists()


@pytest.mark.parametrize(
    "members",
    [
        [member("../outside/file")],
        [member("/../outside/file")],
        [member("a/../../outside/file")],
        [member("link", tarfile.SYMTYPE, "../outside"), member("link/file")],
        [member("link", tarfile.SYMTYPE, "{outside}"), member("link/file")],
        [member("link", tarfile.SYMTYPE, "../outside/file"), member("link")],
        [
            member("a", tarfile.DIRTYPE),
            member("a/link", tarfile.SYMTYPE, "../../../outside"),
            member("a/link/file"),
        ],
        [member("hard", tarfile.LNKTYPE, "../outside/file"), member("hard")],
        [
            member("link", tarfile.SYMTYPE, "../outside"),
            member("hard", tarfile.LNKTYPE, "link/file"),
            member("hard"),
        ],
    ],
)
def test_nothing_outside_is_written(members: list[tarfile.TarInfo], tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "file").write_text("untouched")
    for one in members:
        one.linkname = one.linkname.replace("{outside}", str(outside))
    with suppress(System, OSError):  # refusing is as good as writing inside
        Rootfs(root).extract(archive(*members))
    assert (outside / "file").read_text() == "untouched"
    assert list(outside.iterdir()) == [outside / "file"]


_parts = st.sampled_from(["a", "b", "..", ".", "link", "loop", "/"])


@settings(max_examples=300)
@given(st.lists(_parts, min_size=1, max_size=6), st.lists(_parts, min_size=1, max_size=4))
def test_every_path_leads_inside(parts: list[str], target: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory, "root")
        root.mkdir()
        (root / "link").symlink_to("/".join(target))
        (root / "loop").symlink_to("loop")
        try:
            path = Rootfs(root).path("/".join(parts))
        except System:
            return
        assert path == root or Path(os.path.realpath(path.parent)).is_relative_to(root.resolve())


def test_leftovers_go_and_times_are_set_back(tmp_path: Path) -> None:
    rootfs = Rootfs(tmp_path)
    rootfs.write("var/log/a.log", "x")
    rootfs.write("run/deep/b", "x")
    rootfs.write("etc/old", "x")
    os.utime(tmp_path / "etc/old", (1000, 1000))
    rootfs.remove("var/log/*.log")
    rootfs.empty("run")
    rootfs.empty("nowhere")
    rootfs.clamp_times(2000)
    assert not (tmp_path / "var/log/a.log").exists()
    assert list((tmp_path / "run").iterdir()) == []
    assert (tmp_path / "etc/old").stat().st_mtime == 1000
    assert {(tmp_path / name).stat().st_mtime for name in ("etc", "run", "var/log")} == {2000}
