from __future__ import annotations

import contextlib
import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkernel.engine.build.context import BuildContext, check_inside
from labkernel.engine.build.sources import walk
from labkernel.engine.errors import InvalidParameter
from tests.engine.build.conftest import Files, context_tar, member

DIRECTORY, SYMLINK, HARD_LINK = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def receive(data: bytes | Files, directory: Path) -> BuildContext:
    data = data if isinstance(data, bytes) else context_tar(data)
    return BuildContext.receive(io.BytesIO(data), directory)


def paths(context: BuildContext) -> list[str]:
    top = context.find("")
    assert top
    return sorted(found.path for found in walk(context, top))


def digest(context: BuildContext, path: str) -> str:
    found = context.find(path)
    assert found
    return context.digest(found)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_files_can_be_read_back(tmp_path: Path, compress: type[bytes]) -> None:
    files: Files = {"a": b"", "d/b": b"x" * 300_000, "d/c": "text"}
    with receive(compress(context_tar(files)), tmp_path) as context:
        assert paths(context) == ["a", "d", "d/b", "d/c"]
        assert context.read("d/b") == b"x" * 300_000
        assert context.read("d/c") == b"text"
        assert context.read("d") is None
        assert context.read("nothing") is None
        found = context.find("d/b")
        assert found
        assert context.read_at(found, 299_999, 10) == b"x"
        assert context.size == 300_004
    assert os.listdir(tmp_path) == [], "the spool has no name"


def test_folders_left_out_are_implied(tmp_path: Path) -> None:
    with receive({"a/b/c": "x"}, tmp_path) as context:
        found = context.find("a/b")
        assert found
        assert (found.file.type, found.file.mode) == (b"5", 0o755)


def test_a_later_entry_replaces_an_earlier_one(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in [("d/a", b"1"), ("d/a", b"22"), ("d/b", b"3")]:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        tar.addfile(_named("d", member(DIRECTORY, mode=0o700)))
        entry = tarfile.TarInfo("x")
        tar.addfile(entry)
        tar.addfile(_named("x", member(DIRECTORY)))
        entry = tarfile.TarInfo("x/y")
        tar.addfile(entry)
    with receive(out.getvalue(), tmp_path) as context:
        assert context.read("d/a") == b"22"
        assert context.read("d/b") == b"3"
        assert paths(context) == ["d", "d/a", "d/b", "x", "x/y"]
        found = context.find("d")
        assert found
        assert found.file.mode == 0o700


def _named(name: str, entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.name = name
    return entry


def test_links_stay_inside(tmp_path: Path) -> None:
    files: Files = {
        "dir/file": "content",
        "relative": member(SYMLINK, target="dir/file"),
        "absolute": member(SYMLINK, target="/dir"),
        "out": member(SYMLINK, target="../../../../dir/file"),
        "passwd": member(SYMLINK, target="/etc/passwd"),
        "loop": member(SYMLINK, target="loop"),
        "dir/up": member(SYMLINK, target=".."),
    }
    with receive(files, tmp_path) as context:
        for path in ("relative", "absolute/file", "out", "dir/up/dir/file", "dir/../relative", "/dir/./file"):
            assert context.read(path) == b"content", path
        for path in ("passwd", "loop", "dir/file/x", "relative/x"):
            assert context.find(path) is None, path


def test_an_entry_below_a_link_lands_where_the_link_leads(tmp_path: Path) -> None:
    files: Files = {"real": member(DIRECTORY), "link": member(SYMLINK, target="real"), "link/a": "x"}
    with receive(files, tmp_path) as context:
        assert context.read("real/a") == b"x"


def test_hard_links_share_a_file(tmp_path: Path) -> None:
    with receive({"a": "content", "b": member(HARD_LINK, target="a")}, tmp_path) as context:
        one, two = context.find("a"), context.find("b")
        assert one
        assert two
        assert one.file is two.file
        assert context.read("b") == b"content"
        assert digest(context, "a") != digest(context, "b")


@pytest.mark.parametrize(
    ("name", "entry", "reason"),
    [
        ("../x", member(DIRECTORY), "a path outside of the build context"),
        ("a/../../x", member(DIRECTORY), "a path outside of the build context"),
        ("x", member(HARD_LINK, target="../../etc/passwd"), "a path outside of the build context"),
        ("x", member(HARD_LINK, target="nothing"), "a hard link to 'nothing', which is not there"),
        ("x", member(HARD_LINK, target="dir"), "a hard link to a directory"),
        ("file/x", member(DIRECTORY), "not a directory"),
    ],
)
def test_hostile_archives(tmp_path: Path, name: str, entry: tarfile.TarInfo, reason: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        receive({"dir": member(DIRECTORY), "file": "x", name: entry}, tmp_path)
    assert reason in caught.value.message


@pytest.mark.parametrize("cut", [100, 600, 1100])
def test_truncated_archives(tmp_path: Path, cut: int) -> None:
    with pytest.raises(InvalidParameter, match="unexpected EOF"):
        receive(context_tar({"a": b"x" * 1000, "b": b"y" * 1000})[:cut], tmp_path)


def test_an_absolute_name_is_inside(tmp_path: Path) -> None:
    with receive({"/etc/x": "y"}, tmp_path) as context:
        assert paths(context) == ["etc", "etc/x"]


def test_the_digest_sees_all_but_the_time(tmp_path: Path) -> None:
    def of(name: str = "a", data: bytes = b"x", **fields: int) -> str:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            for field, value in fields.items():
                setattr(entry, field, value)
            tar.addfile(entry, io.BytesIO(data))
        with receive(out.getvalue(), tmp_path) as context:
            return digest(context, name)

    same = of()
    assert of(mtime=5) == same
    others = [of("b"), of(data=b"y"), of(data=b"xx"), of(mode=0o600), of(uid=1), of(gid=1)]
    assert len({same, *others}) == 7


def test_dockerignore_is_applied(tmp_path: Path) -> None:
    files: Files = {".dockerignore": "*\n!keep/this\n", "a": "", "keep/this": "", "keep/not": "", "d/e": ""}
    with receive(files, tmp_path) as context:
        context.apply_dockerignore()
        assert paths(context) == ["keep", "keep/this"]


def test_near_names(tmp_path: Path) -> None:
    with receive({"main.go": "", "Makefile": "", "src/server.py": ""}, tmp_path) as context:
        assert context.nearest("man.go") == ["main.go"]
        assert context.nearest("MAKEFILE") == ["Makefile"]
        assert context.nearest("src/sever.py") == ["src/server.py"]
        assert context.nearest("no/such/dir/main.go") == []
        assert context.nearest("../../main.g") == ["main.go"]


@pytest.mark.parametrize("path", ["..", "../x", "a/../../x", "/../x", "a/b/../../../c"])
def test_paths_outside_are_forbidden(path: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        check_inside(path)
    assert caught.value.message == f"forbidden path outside the build context: {path} ()"


def test_paths_inside() -> None:
    assert [check_inside(path) for path in (".", "/", "./a/", "a/../b", "/a//b")] == ["", "", "a", "b", "a/b"]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_no_damaged_archive_does_harm(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes changed anywhere: it is received or refused, never anything else."""
    original = context_tar(
        {"a/b": b"x" * 700, "l": member(SYMLINK, target="a"), "h": member(HARD_LINK, target="a/b")}
    )
    damaged = bytearray(original)
    for position in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=4)):
        damaged[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidParameter), receive(bytes(damaged), tmp_path) as context:
        paths(context)
