from __future__ import annotations

import io
import os
import socket
import tarfile
from pathlib import Path

import pytest

from labkernel.commands.build_context import context_tar, file_names, ignore_file, tree_tar
from labkernel.commands.dockerignore import DockerIgnore


def unpacked(pieces: object) -> dict[str, tarfile.TarInfo]:
    data = b"".join(pieces)  # type: ignore[arg-type]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: member for member in tar}


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("FROM x\n")
    (tmp_path / "src/deep").mkdir(parents=True)
    (tmp_path / "src/deep/kept").write_text("kept")
    (tmp_path / "src/secret").write_text("secret")
    (tmp_path / "src/tool").write_text("tool")
    (tmp_path / "src/tool").chmod(0o755)
    os.link(tmp_path / "src/tool", tmp_path / "src/tool2")
    os.symlink("/etc/passwd", tmp_path / "link")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def test_a_context_keeps_what_docker_keeps(context: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(context / "socket"))
        members = unpacked(context_tar(context, DockerIgnore(""), extra={}, keep="Dockerfile"))
    assert list(members) == [
        *(
            "Dockerfile",
            "link",
            "pipe",
            "src",
            "src/deep",
            "src/deep/kept",
            "src/secret",
            "src/tool",
            "src/tool2",
        ),
    ]
    assert members["link"].linkname == "/etc/passwd"
    assert (members["src/tool2"].type, members["src/tool2"].linkname) == (tarfile.LNKTYPE, "src/tool")
    assert members["src/tool"].mode == 0o755
    assert {(member.uid, member.gid) for member in members.values()} == {(0, 0)}


def test_what_is_ignored_is_not_sent_but_for_the_dockerfile(context: Path) -> None:
    ignore = DockerIgnore("*\n!src/deep")
    members = unpacked(context_tar(context, ignore, extra={"x": b"more"}, keep="Dockerfile"))
    assert list(members) == ["Dockerfile", "src/deep", "src/deep/kept", "x"]
    assert file_names(context, ignore) == ["src/deep/kept"]


def test_a_dockerfile_may_have_an_ignore_file_of_its_own(context: Path) -> None:
    assert ignore_file(context, "Dockerfile") == context / ".dockerignore"
    own = context / "Dockerfile.dockerignore"
    own.write_text("*\n")
    assert ignore_file(context, "Dockerfile") == own
    members = unpacked(context_tar(context, DockerIgnore("*\n"), extra={}, keep="Dockerfile"))
    assert list(members) == ["Dockerfile", "Dockerfile.dockerignore"]


def test_extra_files_take_the_place_of_those_on_disk(context: Path) -> None:
    data = b"".join(
        context_tar(context, DockerIgnore(""), extra={"Dockerfile": b"FROM y"}, keep="Dockerfile")
    )
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [member.name for member in tar].count("Dockerfile") == 1
        found = tar.extractfile("Dockerfile")
        assert found is not None
        assert found.read() == b"FROM y"


def test_a_tree_under_another_name(context: Path) -> None:
    os.chown(context / "src/secret", 1234, 1234)
    members = unpacked(tree_tar(context / "src", "copy"))
    assert list(members) == [
        "copy",
        *(f"copy/{name}" for name in ("deep", "deep/kept", "secret", "tool", "tool2")),
    ]
    assert members["copy/secret"].uid == 1234
    assert list(unpacked(tree_tar(context / "src/secret", "s"))) == ["s"]
    assert "deep/kept" in unpacked(tree_tar(context / "src", ""))


def test_a_file_that_shrinks_while_it_is_sent_is_an_error(context: Path) -> None:
    big = context / "src/big"
    big.write_bytes(b"x" * 3_000_000)
    pieces = tree_tar(big, "big")
    next(pieces)
    next(pieces)
    big.write_bytes(b"")
    with pytest.raises(OSError, match="shorter"):
        b"".join(pieces)


def test_long_names_and_odd_characters_survive(tmp_path: Path) -> None:
    name = "ä" * 60 + "/" + "b" * 200
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text("x")
    assert name in unpacked(context_tar(tmp_path, DockerIgnore(""), extra={}, keep="Dockerfile"))
