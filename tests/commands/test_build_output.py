from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from labkernel.commands import CommandError
from labkernel.commands.build_output import Output, parse_output
from labkernel.commands.image_files import ImageFiles
from tests.commands.conftest import Commands

FILES = """
FROM busybox AS made
RUN mkdir -p /out/dir/empty /out/gone /out/opaque/old && cd /out && echo 1 > file && ln file again && \\
    ln -s /etc/passwd link && chmod 4755 file && echo x > gone/x && touch -d @1500000000 dir/empty
FROM scratch AS files
COPY --from=made /out /
COPY --from=made /out/file /dir/other
FROM busybox AS whole
RUN rm -r /home && rm -r /var && mkdir -p /var/new && mkfifo /pipe
"""
EXPECTED = {
    *("file", "again", "link -> /etc/passwd", "dir/", "dir/empty/", "dir/other"),
    *("gone/", "gone/x", "opaque/", "opaque/old/"),
}


def listed(directory: Path) -> set[str]:
    found = set()
    for path in directory.rglob("*"):
        name = str(path.relative_to(directory))
        found.add(f"{name} -> {os.readlink(path)}" if path.is_symlink() else name + "/" * path.is_dir())
    return found


def build(run: Commands, *arguments: str) -> None:
    run("build", *arguments, "-", stdin=FILES.encode())


def test_a_directory(run: Commands, tmp_path: Path) -> None:
    target = tmp_path / "new" / "target"
    build(run, "--target", "files", "-o", str(target))
    assert listed(target) == EXPECTED
    assert (target / "file").read_text() == "1\n"
    assert (target / "file").samefile(target / "again")
    assert stat.S_IMODE((target / "file").stat().st_mode) == 0o755, "nobody gets another's rights"
    assert (target / "dir/empty").stat().st_mtime == 1_500_000_000
    # Once more, over what is there: files are replaced, what else is there stays.
    (target / "file").write_text("changed")
    (target / "mine").write_text("mine")
    build(run, "--target", "files", "-o", f"type=local,dest={target}")
    assert listed(target) == EXPECTED | {"mine"}
    assert (target / "file").read_text() == "1\n"


def test_nothing_is_written_outside(run: Commands, tmp_path: Path) -> None:
    target, outside = tmp_path / "target", tmp_path / "outside"
    target.mkdir()
    outside.mkdir()
    (outside / "file").write_text("mine")
    (target / "file").symlink_to(outside / "file")
    build(run, "--target", "files", "-o", str(target))
    assert (outside / "file").read_text() == "mine"
    assert not (target / "file").is_symlink()
    (target / "dir" / "other").unlink()
    (target / "dir" / "empty").rmdir()
    (target / "dir").rmdir()
    (target / "dir").symlink_to(outside)
    with pytest.raises(CommandError, match="dir is a file or a symbolic link there"):
        build(run, "--target", "files", "-o", str(target))
    assert os.listdir(outside) == ["file"]


def test_a_tar(run: Commands, tmp_path: Path) -> None:
    build(run, "-o", f"type=tar,dest={tmp_path}/x.tar")
    with tarfile.open(tmp_path / "x.tar") as tar:
        found = {member.name: member for member in tar}
    assert {"bin", "bin/sh", "var/new", "pipe", "etc/passwd"} <= set(found)
    assert not any(name.startswith("home") for name in found)
    assert {name for name in found if name.startswith("var")} == {"var", "var/new"}
    assert sum(member.size for member in found.values()) < 4_000_000, "hard links stay what they are"


def test_a_tar_to_standard_output(run: Commands) -> None:
    run("build", "-q", "--target", "files", "-o", "-", "-", stdin=FILES.encode())
    with tarfile.open(fileobj=io.BytesIO(run.last.stdout)) as tar:
        assert {member.name for member in tar} == {name.partition(" ")[0].rstrip("/") for name in EXPECTED}
    assert run.last.result.text == ""


def test_archives(run: Commands, tmp_path: Path) -> None:
    """skopeo reads them, and checks every digest as it copies."""
    build(run, "-t", "me/x:1", "-o", f"type=docker,dest={tmp_path}/docker.tar")
    copied = ["skopeo", "copy", "--insecure-policy", f"docker-archive:{tmp_path}/docker.tar:me/x:1"]
    subprocess.run([*copied, f"dir:{tmp_path}/docker"], check=True, capture_output=True)
    oci = ("-t", "me/x:1", "-o", f"type=oci,dest={tmp_path}/oci.tar")
    if run.daemon.kind == "dockerd":
        with pytest.raises(CommandError, match="this engine saves no OCI archives"):
            build(run, *oci)
        assert not (tmp_path / "oci.tar").exists()
        return
    build(run, *oci)
    copied = ["skopeo", "copy", "--insecure-policy", f"oci-archive:{tmp_path}/oci.tar"]
    subprocess.run([*copied, f"dir:{tmp_path}/oci"], check=True, capture_output=True)
    manifest = json.loads((tmp_path / "oci/manifest.json").read_text())
    assert manifest["config"]["digest"] == run("images", "-q", "--no-trunc", "me/x:1").printed.strip()


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("out", Output("local", "out")),
        ("-", Output("tar", "-")),
        ("type=local,dest=a b", Output("local", "a b")),
        ("type=tar", Output("tar", "-")),
        ('type=oci,"dest=a,b"', Output("oci", "a,b")),
    ],
)
def test_outputs(text: str, output: Output) -> None:
    assert parse_output(text) == output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dest=x", "type is required for output"),
        ("type=local", "dest is required for local output"),
        ("type=local,x", "invalid value x"),
        ("type=registry,name=x", "output type registry is not offered"),
        ("type=ocy,dest=x", "unknown output type ocy"),
        ("type=tar,dest=x,compression=zstd", "unknown option compression of output type tar"),
    ],
)
def test_outputs_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(CommandError) as caught:
        parse_output(text)
    assert (caught.value.what, bool(caught.value.hint)) == (message, True)


def archive(*layers: list[tuple[str, bytes, str]]) -> io.BytesIO:
    """A `docker save` archive of layers with (name, type, link)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as outer:

        def add(name: str, data: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            outer.addfile(member, io.BytesIO(data))

        for number, entries in enumerate(layers):
            layer = io.BytesIO()
            with tarfile.open(fileobj=layer, mode="w") as inner:
                for name, kind, link in entries:
                    member = tarfile.TarInfo(name)
                    member.type, member.linkname = kind, link
                    inner.addfile(member)
            add(str(number), layer.getvalue())
        add("manifest.json", json.dumps([{"Layers": [str(n) for n in range(len(layers))]}]).encode())
    out.seek(0)
    return out


FILE, DIRECTORY, LINK, HARD = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def test_layers_are_laid_over_each_other() -> None:
    files = ImageFiles(
        archive(
            [("a/b/c", FILE, ""), ("d", DIRECTORY, ""), ("d/x", FILE, ""), ("e", FILE, ""), ("f", FILE, "")],
            [("d/.wh..wh..opq", FILE, ""), ("d/y", FILE, ""), (".wh.e", FILE, ""), ("f", DIRECTORY, "")],
            [("g", HARD, "d/y"), ("./a/b/", DIRECTORY, ""), (".wh.f", FILE, ""), ("f", FILE, "")],
        )
    )
    assert [path for path, _ in files.directories()] == ["a", "d", "a/b"]
    assert {path for path, _ in files.others()} == {"a/b/c", "d/y", "f", "g"}
    found = dict(files.others())
    assert found["g"].identity == found["d/y"].identity


@pytest.mark.parametrize(
    "entries",
    [
        [("../x", FILE, "")],
        [("a/../../x", FILE, "")],
        [("link", LINK, "/etc"), ("link/passwd", FILE, "")],
        [("hard", HARD, "../../etc/passwd")],
        [("hard", HARD, "/etc/passwd")],
    ],
)
def test_an_image_that_leads_out_is_refused(entries: list[tuple[str, bytes, str]]) -> None:
    with pytest.raises(CommandError, match="the image is not safe to unpack"):
        ImageFiles(archive(entries))
