"""Files go in and out: cp, export, diff, commit, and volumes."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import Daemon, running


@pytest.fixture(params=["running", "stopped"])
def box(request: pytest.FixtureRequest, lab: Daemon, tmp_path: Path) -> str:
    """A container with a volume and a bind mount, in either state."""
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "file").write_text("from the host\n")
    lab.docker(
        "create",
        "--name",
        "box",
        "-v",
        "data:/data",
        "-v",
        f"{tmp_path}/host:/host",
        "busybox",
        "sleep",
        "1000",
    )
    lab.docker("start", "box")
    lab.docker(
        "exec",
        "box",
        "sh",
        "-c",
        "echo in the volume > /data/file; mkdir /d; echo own > /d/file; ln -s /d/file /link",
    )
    if request.param == "stopped":
        lab.docker("stop", "-t", "0", "box")
    return "box"


def test_copy_out(lab: Daemon, box: str, tmp_path: Path) -> None:
    for path, content in (
        ("/d/file", "own\n"),
        ("/data/file", "in the volume\n"),
        ("/host/file", "from the host\n"),
    ):
        copied = lab.docker("cp", f"{box}:{path}", str(tmp_path / "out"))
        assert copied.returncode == 0, copied.stderr
        assert (tmp_path / "out").read_text() == content
    lab.docker("cp", f"{box}:/d", str(tmp_path / "directory"))
    assert os.listdir(tmp_path / "directory") == ["file"]
    lab.docker("cp", f"{box}:/link", str(tmp_path / "link"))
    assert os.readlink(tmp_path / "link") == "/d/file"
    lab.docker("cp", "-L", f"{box}:/link", str(tmp_path / "followed"))
    assert (tmp_path / "followed").read_text() == "own\n"
    missing = lab.docker("cp", f"{box}:/nosuch", str(tmp_path))
    assert missing.returncode == 1
    assert "Could not find the file /nosuch in container box" in missing.stderr


def test_copy_in(lab: Daemon, box: str, tmp_path: Path) -> None:
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "file").write_text("copied\n")
    (tmp_path / "tree" / "deep" / "file").chmod(0o640)
    for place in ("/d", "/data", "/host"):
        copied = lab.docker("cp", str(tmp_path / "tree"), f"{box}:{place}")
        assert copied.returncode == 0, copied.stderr
    assert (tmp_path / "host/tree/deep/file").read_text() == "copied\n"
    lab.docker("start", box)
    read = "cat /d/tree/deep/file /data/tree/deep/file; stat -c %a:%u /d/tree/deep/file"
    assert lab.docker("exec", box, "sh", "-c", read).stdout == "copied\ncopied\n640:0\n"
    refused = lab.docker("cp", str(tmp_path / "tree"), f"{box}:/nosuch/place")
    assert refused.returncode == 1


def test_copy_into_a_container_whose_mounts_have_no_place_yet(lab: Daemon, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "file").write_text("x\n")
    lab.docker("create", "--name", "box", "-v", f"{tmp_path}/host:/not/yet/there", "busybox", "cat", "/file")
    for place in ("/file", "/not/yet/there/"):
        copied = lab.docker("cp", str(tmp_path / "file"), f"box:{place}")
        assert copied.returncode == 0, copied.stderr
    assert lab.docker("start", "-a", "box").stdout == "x\n"
    assert (tmp_path / "host" / "file").read_text() == "x\n"


def test_copy_between_pipes(lab: Daemon, box: str) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("piped")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"abc"))
    lab.docker("cp", "-", f"{box}:/d", input=packed.getvalue(), text=False)
    out = lab.http.call("GET", f"/containers/{box}/archive?path=/d/piped")
    with tarfile.open(fileobj=io.BytesIO(out.body)) as tar:
        assert tar.getnames() == ["piped"]
        file = tar.extractfile("piped")
        assert file is not None
        assert file.read() == b"abc"


@pytest.mark.parametrize("path", ["/trap/file", "/trap/../trap/file"])
def test_a_link_leads_nowhere_but_into_the_container(lab: Daemon, path: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    lab.docker("run", "--name", "trap", "busybox", "ln", "-s", str(outside), "/trap")
    refused = lab.http.call("GET", f"/containers/trap/archive?path={path}")
    assert refused.status == 404
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("../escaped", "/escaped", "trap/escaped", "plain"):
            tar.addfile(tarfile.TarInfo(name))
    lab.http.call("PUT", "/containers/trap/archive?path=/", packed.getvalue())
    assert list(outside.iterdir()) == []
    assert not (tmp_path / "escaped").exists()
    assert not Path("/escaped").exists()


@pytest.mark.parametrize("body", [b"", b"no tar" * 200, bytes(100), b"\x1f\x8b" + bytes(600)])
def test_a_broken_archive(lab: Daemon, body: bytes) -> None:
    lab.docker("create", "--name", "box", "busybox", "true")
    answer = lab.http.call("PUT", "/containers/box/archive?path=/", body)
    assert answer.status in (200, 400, 500)
    assert b"internal error" not in answer.body
    assert lab.docker("diff", "box").stdout == ""


def test_a_read_only_container_takes_files_only_into_its_volumes(lab: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x\n")
    lab.docker(
        "run",
        "-d",
        "--read-only",
        "-v",
        "data:/data",
        "-v",
        "fixed:/fixed:ro",
        "--name",
        "box",
        "busybox",
        "sleep",
        "1000",
    )
    refused = lab.docker("cp", str(tmp_path / "file"), "box:/etc/")
    assert "container rootfs is marked read-only" in refused.stderr
    fixed = lab.docker("cp", str(tmp_path / "file"), "box:/fixed/")
    assert "read-only" in fixed.stderr
    taken = lab.docker("cp", str(tmp_path / "file"), "box:/data/")
    assert taken.returncode == 0, taken.stderr
    assert lab.docker("exec", "box", "cat", "/data/file").stdout == "x\n"


def test_changes_are_seen(lab: Daemon) -> None:
    lab.docker(
        "run", "--name", "changed", "busybox", "sh", "-c", "touch /new; rm /etc/group; echo x >> /etc/passwd"
    )
    assert sorted(lab.docker("diff", "changed").stdout.splitlines()) == [
        *("A /new", "C /etc", "C /etc/passwd", "D /etc/group")
    ]
    lab.docker("run", "--name", "untouched", "-v", "/data", "busybox", "true")
    assert lab.docker("diff", "untouched").stdout in ("", "A /data\n")


def test_export(lab: Daemon, tmp_path: Path) -> None:
    lab.docker(
        "run",
        "-d",
        "--name",
        "box",
        "-v",
        "data:/data",
        "busybox",
        "sh",
        "-c",
        "echo v > /data/f; echo own > /f; rm /etc/group; sleep 1000",
    )
    lab.docker("exec", "box", "sh", "-c", "while test ! -e /f; do sleep 0.05; done")
    exported = lab.docker("export", "-o", str(tmp_path / "tar"), "box")
    assert exported.returncode == 0, exported.stderr
    with tarfile.open(tmp_path / "tar") as tar:
        names = set(tar.getnames())
    assert {"f", "etc/passwd", "bin/busybox"} <= names
    assert "etc/group" not in names
    assert "data/f" not in names


def test_commit(lab: Daemon) -> None:
    lab.docker(
        "run", "--name", "made", "-e", "A=1", "busybox", "sh", "-c", "echo content > /file; rm /etc/group"
    )
    saved = lab.docker("commit", "-m", "why", "-a", "me", "-c", 'CMD ["cat", "/file"]', "made", "mine:1")
    assert saved.returncode == 0, saved.stderr
    assert lab.docker("run", "--rm", "mine:1").stdout == "content\n"
    assert "No such file" in lab.docker("run", "--rm", "mine:1", "cat", "/etc/group").stderr
    shown = lab.docker("inspect", "-f", "{{.Comment}} {{.Author}} {{.Config.Env}}", "mine:1").stdout
    assert shown.startswith("why me [A=1 PATH=")
    refused = lab.docker("commit", "-c", "RUN true", "made")
    assert "run is not a valid change command" in refused.stderr


def test_commit_of_a_running_container(lab: Daemon) -> None:
    lab.docker("run", "-d", "--name", "up", "busybox", "sh", "-c", "echo 1 > /file; sleep 1000")
    lab.docker("exec", "up", "sh", "-c", "while test ! -e /file; do sleep 0.05; done")
    assert lab.docker("commit", "up", "mine:2").returncode == 0
    assert lab.docker("inspect", "-f", "{{.State.Status}}", "up").stdout == "running\n"
    lab.docker("exec", "up", "sh", "-c", "echo 2 > /file")
    assert lab.docker("run", "--rm", "mine:2", "cat", "/file").stdout == "1\n"


def test_a_new_volume_has_what_the_image_has_there(lab: Daemon) -> None:
    lab.docker(
        "run",
        "--name",
        "base",
        "busybox",
        "sh",
        "-c",
        "mkdir -m 750 /data; chown 1:1 /data; echo seed > /data/file",
    )
    lab.docker("commit", "-c", "VOLUME /data", "base", "seeded")
    look = ["sh", "-c", "cat /data/file; stat -c %a:%u:%g /data"]
    assert lab.docker("run", "--rm", "seeded", *look).stdout == "seed\n750:1:1\n"
    assert lab.docker("run", "--rm", "-v", "named:/data", "seeded", *look).stdout == "seed\n750:1:1\n"
    lab.docker("run", "--rm", "-v", "named:/data", "seeded", "sh", "-c", "echo changed > /data/file")
    assert lab.docker("run", "--rm", "-v", "named:/data", "seeded", "cat", "/data/file").stdout == "changed\n"
    empty = lab.docker("run", "--rm", "-v", "plain:/data:nocopy", "seeded", "ls", "/data")
    assert empty.stdout == ""


def test_volumes_are_shared(lab: Daemon) -> None:
    lab.docker("run", "--name", "owner", "-v", "/data", "busybox", "sh", "-c", "echo shared > /data/file")
    ran = lab.docker("run", "--rm", "--volumes-from", "owner", "busybox", "cat", "/data/file")
    assert ran.stdout == "shared\n", ran.stderr
    refused = lab.docker("run", "--rm", "--volumes-from", "owner:ro", "busybox", "touch", "/data/x")
    assert "Read-only file system" in refused.stderr
    in_use = lab.docker("volume", "rm", lab.docker("volume", "ls", "-q").stdout.strip())
    assert "volume is in use" in in_use.stderr
    lab.docker("rm", "-v", "owner")
    assert lab.docker("volume", "ls", "-q").stdout == ""


def test_a_host_directory(lab: Daemon, tmp_path: Path) -> None:
    assert (
        lab.docker("run", "--rm", "-v", f"{tmp_path}/made/here:/x", "busybox", "touch", "/x/file").returncode
        == 0
    )
    assert (tmp_path / "made/here/file").exists()
    missing = lab.docker(
        "run", "--rm", "--mount", f"type=bind,source={tmp_path}/nosuch,target=/x", "busybox", "true"
    )
    assert f"bind source path does not exist: {tmp_path}/nosuch" in missing.stderr
    fixed = lab.docker("run", "--rm", "-v", f"{tmp_path}:/x:ro", "busybox", "touch", "/x/file")
    assert "Read-only file system" in fixed.stderr


@pytest.fixture
def restricted(root: None) -> Iterator[Path]:
    """A directory with a file on a mount whose restrictions a user namespace may not lift."""
    directory = Path(tempfile.mkdtemp())
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755,nosuid,nodev", "tmpfs", directory], check=True)
    (directory / "file").write_text("from the host\n")
    yield directory
    subprocess.run(["umount", "--lazy", directory], check=True)
    directory.rmdir()


def test_a_read_only_bind_of_a_restricted_mount(restricted: Path, user_with_range: str) -> None:
    """And no descriptor is left of it, neither when it goes well nor when it does not."""
    with running("labkernel", user=user_with_range) as daemon:
        daemon.docker("create", "--name", "box", "-v", f"{restricted}:/host:ro", "busybox", "true")
        before = len(os.listdir(f"/proc/{daemon.pid}/fd"))
        for _ in range(5):
            copied = daemon.docker("cp", "box:/host/file", "-")
            assert copied.returncode == 0, copied.stderr
            assert "from the host" in copied.stdout
        refused = daemon.docker("cp", f"{restricted}/file", "box:/host/other")
        assert "read-only" in refused.stderr
        assert len(os.listdir(f"/proc/{daemon.pid}/fd")) <= before + 1
