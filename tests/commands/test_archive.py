from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from labkernel.commands import CommandError
from labkernel.commands.archive import PieceReader, split_container_path, unpack
from tests.commands.conftest import Commands


@pytest.fixture
def web(run: Commands) -> Commands:
    run("run", "-d", "--name", "web", "busybox", "sh", "-c", "mkdir /in; ln -s /in /link; exec sleep 1000")
    run("exec", "web", "sh", "-c", "while [ ! -e /link ]; do sleep 0.05; done")
    return run


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "tree/deep/file").write_text("content\n")
    (tmp_path / "tree/deep/file").chmod(0o750)
    (tmp_path / "tree/link").symlink_to("deep/file")
    return tmp_path / "tree"


def listing(web: Commands, directory: str) -> list[str]:
    return sorted(web("exec", "web", "sh", "-c", f"cd {directory} && find .").stdout.decode().split()[1:])


def test_into_the_container(web: Commands, tree: Path) -> None:
    web("cp", str(tree), "web:/copy")
    assert listing(web, "/copy") == ["./deep", "./deep/file", "./link"]
    web("cp", str(tree), "web:/in")
    assert listing(web, "/in") == ["./tree", "./tree/deep", "./tree/deep/file", "./tree/link"]
    web("cp", f"{tree}/.", "web:/copy2")
    assert listing(web, "/copy2") == ["./deep", "./deep/file", "./link"]
    web("cp", str(tree / "deep/file"), "web:/named")
    assert web("exec", "web", "stat", "-c", "%a", "/named").stdout == b"750\n"
    web("cp", str(tree / "deep/file"), "web:/link/through")
    assert web("exec", "web", "cat", "/in/through").stdout == b"content\n"


def test_out_of_the_container(web: Commands, tree: Path, tmp_path: Path) -> None:
    web("cp", str(tree), "web:/copy")
    web("cp", "web:/copy", str(tmp_path / "new"))
    assert (tmp_path / "new/deep/file").read_text() == "content\n"
    assert os.readlink(tmp_path / "new/link") == "deep/file"
    web("cp", "web:/copy", str(tmp_path / "new"))
    assert (tmp_path / "new/copy/deep/file").exists()
    web("cp", "web:/copy/.", str(tmp_path / "flat"))
    assert sorted(os.listdir(tmp_path / "flat")) == ["deep", "link"]
    web("cp", "web:/copy/deep/file", str(tmp_path / "other"))
    assert (tmp_path / "other").stat().st_mode & 0o777 == 0o750
    web("cp", "web:/copy/deep/file", str(tmp_path))
    assert (tmp_path / "file").read_text() == "content\n"
    assert b"Successfully copied" in web.last.stderr


def test_as_tars(web: Commands, tree: Path) -> None:
    tar = web("cp", "web:/bin/busybox", "-").stdout
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        assert archive.getnames() == ["busybox"]
    web("cp", "-", "web:/in", stdin=tar)
    assert listing(web, "/in") == ["./busybox"]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["web:/nowhere", "."], "Could not find the file /nowhere in container web"),
        (["web:/bin", "nowhere/x"], 'directory "nowhere" does not exist'),
        (["nowhere", "web:/"], "no such file or directory"),
        ([".", "web:/bin/busybox"], "cannot copy directory"),
        (["/etc/passwd", "web:/nowhere/"], "no such directory"),
        (["web:/a", "web:/b"], "copying between containers is not supported"),
        (["a", "b"], "must specify at least one container source"),
        (["nosuch:/a", "."], "No such container: nosuch"),
    ],
)
def test_copies_that_cannot_be(web: Commands, words: list[str], what: str) -> None:
    with pytest.raises(CommandError, match=what):
        web("cp", *words)


def test_export_import_save_load(web: Commands, tmp_path: Path) -> None:
    assert web("export", "-o", str(tmp_path / "root.tar"), "web").printed == ""
    imported = web(
        "import", "-c", 'CMD ["echo", "hi"]', "-c", "ENV PATH=/bin", str(tmp_path / "root.tar"), "me/i:1"
    ).printed
    assert imported.startswith("sha256:")
    assert web("run", "--rm", "me/i:1").stdout == b"hi\n"
    assert web("save", "-o", str(tmp_path / "images.tar"), "me/i:1", "busybox").printed == ""
    web("rmi", "me/i:1")
    assert "Loaded image: me/i:1\n" in web("load", "-i", str(tmp_path / "images.tar")).printed
    assert sorted(os.listdir(tmp_path)) == ["images.tar", "root.tar"]
    with pytest.raises(CommandError, match="refusing to save to a terminal"):
        web("save", "busybox")
    with pytest.raises(CommandError):
        web("save", "-o", str(tmp_path / "never"), "nosuch")
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    ("name", "what", "hint"),
    [
        ("imges.tar", "open imges.tar: no such file or directory", "did you mean images.tar?"),
        ("other", "open other: no such file or directory", ": images.tar"),
        ("no/other", "open no/other: no such file or directory", "there is no directory no"),
        ("images.tar", "", "that is no archive of images: docker load takes what docker save wrote"),
    ],
)
def test_what_cannot_be_loaded(
    run: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, what: str, hint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images.tar").write_text("nonsense\n")
    with pytest.raises(CommandError) as raised:
        run("load", "-i", name)
    assert what in raised.value.what
    assert hint in (raised.value.hint or "")


def test_commit(web: Commands) -> None:
    web("exec", "web", "sh", "-c", "echo kept > /kept")
    image = web(
        "commit", "-m", "said", "-a", "me", "-c", 'CMD ["cat", "/kept"]', "web", "me/c:1"
    ).printed.strip()
    assert web("run", "--rm", "me/c:1").stdout == b"kept\n"
    assert web("inspect", "-f", "{{.Id}} {{.Comment}} {{.Author}}", "me/c:1").printed == f"{image} said me\n"


@pytest.mark.parametrize(
    ("word", "split"),
    [
        ("web:/a", ("web", "/a")),
        ("web:a:b", ("web", "a:b")),
        ("/a:b", (None, "/a:b")),
        ("./a:b", (None, "./a:b")),
        ("a", (None, "a")),
        ("-", (None, "-")),
    ],
)
def test_whose_path_it_is(word: str, split: tuple[str | None, str]) -> None:
    assert split_container_path(word) == split


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = 4 if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    "members",
    [
        [member("x/../../evil")],
        [member("x", tarfile.SYMTYPE, "/tmp"), member("x/evil")],
        [member("x", tarfile.DIRTYPE), member("x/out", tarfile.SYMTYPE, "../.."), member("x/out/evil")],
        [member("x", tarfile.DIRTYPE), member("x/hard", tarfile.LNKTYPE, "../outside")],
    ],
)
def test_an_archive_cannot_write_outside(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    (tmp_path / "outside").write_text("safe")
    inside = tmp_path / "inside"
    inside.mkdir()
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for info in members:
            tar.addfile(info, io.BytesIO(b"evil") if info.size else None)
    with pytest.raises((CommandError, OSError, KeyError)):
        unpack(PieceReader(iter([data.getvalue()])), inside, rename=("x", "y"), keep_owner=False)
    assert sorted(os.listdir(tmp_path)) == ["inside", "outside"]
    assert (tmp_path / "outside").read_text() == "safe"
    assert (tmp_path / "outside").stat().st_nlink == 1
    assert not Path("/tmp/evil").exists()
