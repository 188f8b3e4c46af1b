from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from labkernel.engine.errors import System, Unavailable
from tests.engine.catalog.conftest import Made, make, run
from tests.engine.catalog.signed_archive import SignedArchive, serving, write_keyring


def test_the_commands_work(busybox: Made) -> None:
    assert run(busybox.root, "echo", "Hello World") == (0, "Hello World\n")
    assert run(busybox.root, "sh", "-c", "ls /bin | grep -cx -e sh -e vi -e wget -e httpd")[0] == 0
    assert run(busybox.root, "/usr/bin/env", "sh", "-c", "id -un; id -u daemon; cd ~mail && pwd") == (
        0,
        "root\n1\n/var/spool/mail\n",
    )


def test_the_layout_is_the_official_images(busybox: Made) -> None:
    assert {path.name for path in busybox.root.iterdir()} == {
        *("bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "var")
    }
    assert stat.S_IMODE((busybox.root / "tmp").stat().st_mode) == 0o1777
    assert stat.S_IMODE((busybox.root / "root").stat().st_mode) == 0o700
    assert stat.S_IMODE((busybox.root / "etc/shadow").stat().st_mode) == 0o640
    assert os.readlink(busybox.root / "bin/sh") == "busybox"
    assert not (busybox.root / "bin/busybox").is_symlink()


def test_the_config(busybox: Made) -> None:
    assert busybox.image.references == ("busybox:latest",)
    assert busybox.image.config["config"]["Cmd"] == ["sh"]
    assert busybox.image.config["config"]["Labels"]["org.labkernel.base.package"].startswith(
        "busybox-static "
    )
    assert {(one.step, one.steps) for one in busybox.progress} == {(1, 4), (2, 4), (3, 4), (4, 4)}


def archive_with(program: bytes | None, architecture: str) -> SignedArchive:
    archive = SignedArchive()
    if program is not None:
        archive.add("bookworm", "busybox-static", "1", files={"usr/bin/busybox": program})
    archive.publish("bookworm", architecture)
    return archive


@pytest.mark.parametrize(
    ("program", "kind", "message"),
    [
        (None, Unavailable, "no package busybox-static"),
        (b"#!/bin/busybox\n", System, "busybox does not list its commands|cannot run"),
    ],
)
def test_an_archive_without_a_busybox_that_runs(
    program: bytes | None, kind: type[Exception], message: str, root: None, tmp_path: Path, architecture: str
) -> None:
    with serving(archive_with(program, architecture).files) as server:
        line = f"deb [signed-by={write_keyring(tmp_path / 'ring.gpg')}] {server.url} bookworm main"
        with pytest.raises(kind, match=message):
            make(tmp_path / "cache", "busybox", line)
    assert list((tmp_path / "cache/work").iterdir()) == []
