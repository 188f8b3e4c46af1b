"""ADD of a git repository, built for real. Source of what is expected: BuildKit's documentation."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from labkernel.engine.build.rootfs import Rootfs
from labkernel.engine.build.sources import walk
from labkernel.engine.errors import EngineError
from labkernel.engine.image.images import Image
from tests.engine.build.conftest import Workshop
from tests.engine.build.test_builder import read
from tests.support.site import COMMIT_TIME, Site


def layer(workshop: Workshop, image: Image) -> dict[str, str]:
    """The files that are no directories below /r of the last layer, with mode and owner."""
    rootfs = Rootfs(workshop.store.layers.directories(image.chain_id)[:1], overlay=workshop.store.overlay)
    top = rootfs.find("r")
    assert top is not None
    return {
        found.path.removeprefix("r/"): f"{stat.S_IMODE(found.file.mode):o} {found.file.uid}"
        for found in walk(rootfs, top)
        if found.file.type != b"5"
    }


@pytest.fixture
def base(site: Site) -> str:
    return f"git://127.0.0.1:{site.git_port}"


SUB = {"Dockerfile": "644 0", "away": "777 0"}


@pytest.mark.parametrize(
    ("words", "files"),
    [
        ("{base}/project.git#trunk:sub /r", SUB),
        ("{base}/project.git#:sub /r/", SUB),
        ("--exclude=away --chown=3 {base}/project.git#:sub /r", {"Dockerfile": "644 3"}),
        ("--checksum={commit} --link {base}/project.git#:sub /r", SUB),
        ("--checksum={short} {base}/project.git#:sub /r", SUB),
        (
            "{base}/project.git#:sub {base}/inner-added.git file /r/",
            {**SUB, "inner": "644 0", "file": "644 0"},
        ),
    ],
)
def test_add_git(workshop: Workshop, site: Site, base: str, words: str, files: dict[str, str]) -> None:
    if not (site.directory / "inner-added.git").exists():
        site.repository("inner-added", {"inner": "x"})
    commit = site.git("-C", "project.git", "rev-parse", "HEAD")
    text = "FROM busybox\nADD " + words.format(base=base, commit=commit, short=commit[:9].upper()) + "\n"
    built = workshop.build(text, {"file": "x"})
    assert layer(workshop, built.image) == files
    again = workshop.build(text, {"file": "x"})
    assert again.image.id == built.image.id
    assert "Using cache" in again.text


def test_keep_git_dir(workshop: Workshop, base: str) -> None:
    text = f"FROM busybox\nADD --keep-git-dir {base}/project.git /r\n"
    built = workshop.build(text)
    found = layer(workshop, built.image)
    assert {".git/HEAD", ".git/config", "file"} <= set(found)
    assert not any(name.startswith((".git/hooks/", ".git/logs/")) for name in found)
    assert "Using cache" in workshop.build(text).text


def test_times(workshop: Workshop, base: str) -> None:
    built = workshop.build(f"FROM busybox\nADD {base}/project.git#:sub /r\n")
    found = Rootfs(
        workshop.store.layers.directories(built.image.chain_id), overlay=workshop.store.overlay
    ).find("r/Dockerfile")
    assert found
    assert found.file.mtime == COMMIT_TIME * 10**9


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("COPY {base}/project.git /r", "COPY failed: source can't be a git ref for COPY"),
        (
            "ADD --checksum=00000000 {base}/project.git /r",
            "ADD failed: expected checksum to match 00000000, got {commit}",
        ),
        (
            "ADD --checksum=sha256:12 {base}/project.git /r",
            "invalid checksum sha256:12 for Git URL, expected hex commit hash",
        ),
        (
            "ADD {base}/project.git#none /r",
            "ADD failed: error fetching: fatal: couldn't find remote ref none",
        ),
        ("ADD {base}/project.git#-x /r", "ADD failed: invalid refspec: -x"),
        ("ADD {base}/project.git#:link /r", "ADD failed: error setting git context, not a directory: link"),
        ("ADD --checksum=sha256:12 Dockerfile /r", "checksum requires HTTP(S) or Git sources"),
    ],
)
def test_errors(workshop: Workshop, site: Site, base: str, step: str, message: str) -> None:
    commit = site.git("-C", "project.git", "rev-parse", "HEAD")
    with pytest.raises(EngineError) as caught:
        workshop.build("FROM busybox\n" + step.format(base=base) + "\n")
    assert message.format(commit=commit) in caught.value.message
    assert caught.value.details["failure"]["line"] == 2


def test_a_folder_is_not_the_whole(workshop: Workshop, base: str) -> None:
    """Of the same commit, with .git and without: none is the other's cache."""
    whole, folder, left_out = (
        workshop.build(f"FROM busybox\nADD --keep-git-dir {flags}{base}/project.git{fragment} /r\n").image
        for flags, fragment in (("", ""), ("", "#:sub"), ("--exclude=file ", ""))
    )
    assert read(workshop, whole, "r/file") == b"text\n"
    assert read(workshop, folder, "r/file") is None
    assert read(workshop, folder, "r/Dockerfile") == read(workshop, whole, "r/sub/Dockerfile")
    assert read(workshop, left_out, "r/file") is None
    assert read(workshop, left_out, "r/.git/HEAD")


def test_passwords_stay_out_of_the_image(
    workshop: Workshop, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    site.git("clone", "--quiet", "--bare", "project.git", "private/project.git")
    site.git("-C", "private/project.git", "update-server-info")
    address = f"http://me:pass-word@127.0.0.1:{site.port}/private/project.git"
    built = workshop.build("FROM busybox\nARG A\nADD --keep-git-dir $A /r\n", build_args={"A": address})
    for directory in workshop.store.layers.directories(built.image.chain_id)[:1]:
        for path in Path(directory).rglob("*"):
            assert not path.is_file() or b"pass-word" not in path.read_bytes(), path
