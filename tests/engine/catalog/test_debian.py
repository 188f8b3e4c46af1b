from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkernel.engine.catalog.apt_sources import parse_deb822
from labkernel.engine.catalog.debian import select_packages
from labkernel.engine.catalog.packages import PackageIndex
from labkernel.engine.errors import Unavailable
from tests.engine.catalog.conftest import Made, make, run


def packages(root: Path) -> set[str]:
    return set(re.findall(r"^Package: (\S+)$", (root / "var/lib/dpkg/status").read_text(), re.MULTILINE))


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """All that makes a layer's digest."""
    found = {}
    for directory, subdirectories, files in os.walk(root):
        for name in subdirectories + files:
            path = Path(directory, name)
            status = path.lstat()
            content = ""
            if path.is_symlink():
                content = os.readlink(path)
            elif path.is_file():
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            owner = (status.st_uid, status.st_gid, status.st_mode, int(status.st_mtime))
            found[str(path.relative_to(root))] = (*owner, content)
    return found


def codename(made: Made) -> str:
    release = re.search(r"^VERSION_CODENAME=(\S+)", (made.root / "etc/os-release").read_text(), re.MULTILINE)
    assert release
    return release[1]


def test_the_packages_are_those_of_mmdebstraps_minbase(debian: Made) -> None:
    said = subprocess.run(
        ["mmdebstrap", "--simulate", "--verbose", "--variant=minbase", codename(debian), "/dev/null"],
        check=True,
        capture_output=True,
        text=True,
    )
    theirs = {
        name.partition(":")[0] for name in re.findall(r"^Inst (\S+)", said.stdout + said.stderr, re.MULTILINE)
    }
    ours = packages(debian.root)
    assert len(theirs) > 50
    # They convert to the merged /usr with a program that needs perl; here it is merged from the beginning.
    assert ours - theirs <= {"usr-is-merged"}
    assert {name for name in theirs - ours if not re.search("usrmerge|perl|gdbm", name)} == set()


def test_owners_and_modes_are_the_packages_own(debian: Made) -> None:
    def owner(name: str) -> tuple[int, int, int]:
        status = (debian.root / name).stat()
        return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)

    assert owner("tmp") == (0, 0, 0o1777)
    assert owner("root") == (0, 0, 0o700)
    assert owner("var/mail") == (0, 8, 0o2775)
    assert owner("var/local") == (0, 50, 0o2775)
    assert owner("usr/bin/passwd") == (0, 0, 0o4755)
    assert owner("usr/bin/chage") == (0, 42, 0o2755)
    assert owner("etc/shadow") == (0, 42, 0o640)
    assert os.readlink(debian.root / "bin") == "usr/bin"


def test_nothing_of_the_making_is_left(debian: Made) -> None:
    for name in ("dev", "proc", "sys", "tmp", "var/cache/apt/archives/partial", "var/lib/apt/lists/partial"):
        assert list((debian.root / name).iterdir()) == [], name
    for name in ("etc/machine-id", "etc/resolv.conf", "etc/hostname", "etc/passwd-", "var/log/dpkg.log"):
        assert not (debian.root / name).exists(), name
    assert not list(debian.root.glob("var/cache/apt/archives/*.deb"))


def test_the_config_says_what_it_is_and_how_it_was_made(debian: Made) -> None:
    config = debian.image.config
    assert debian.image.references == ("debian:latest", f"debian:{codename(debian)}")
    assert config["os"] == "linux"
    assert config["config"]["Cmd"] == ["bash"]
    assert config["config"]["Env"] == ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    labels = config["config"]["Labels"]
    assert codename(debian) in labels["org.labkernel.base.release"]
    assert codename(debian) in labels["org.labkernel.base.archive-suites"].split()
    assert labels["org.labkernel.base.archive-date"] == config["created"]
    assert labels["org.labkernel.base.packages"] == str(len(packages(debian.root)))
    assert len(config["history"]) == 1


def test_the_steps_are_shown_with_progress(debian: Made) -> None:
    assert [one.step for one in debian.progress] == sorted(one.step for one in debian.progress)
    last = {one.step: one for one in debian.progress}
    assert sorted(last) == [1, 2, 3, 4, 5]
    assert {one.steps for one in debian.progress} == {5}
    for step, unit in ((2, "bytes"), (3, "packages"), (4, "packages")):
        assert last[step].unit == unit
        assert last[step].done == last[step].total > 0


@pytest.fixture
def copy(debian: Made, tmp_path: Path) -> Iterator[Path]:
    """A container's own copy of the root file system."""
    subprocess.run(["cp", "-a", debian.root, tmp_path / "root"], check=True)
    yield tmp_path / "root"
    shutil.rmtree(tmp_path / "root")


def test_dpkg_and_apt_find_nothing_amiss_and_work(debian: Made, copy: Path) -> None:
    sources = (debian.root / "etc/apt/sources.list.d/debian.sources").read_text()
    assert codename(debian) in {source.suite for source in parse_deb822(sources)}
    code, said = run(copy, "sh", "-c", "dpkg --audit && dpkg --verify && apt-get -q check")
    assert (code, said) == (0, "Reading package lists...\nBuilding dependency tree...\n")
    install = "apt-get update && apt-get install -y memcached && dpkg --audit"
    code, said = run(copy, "sh", "-c", install, network=True)
    assert code == 0, said
    assert "policy-rc.d denied execution of start" in said
    assert "W:" not in said
    assert (copy / "usr/bin/memcached").exists()
    assert not list(copy.glob("var/cache/apt/archives/*.deb"))


_KILLED = """
import asyncio
import sys
from pathlib import Path
from labkernel.engine.catalog.catalog import Catalog
from tests.engine.catalog.launched import launching

def shown(progress):
    print(progress.step, progress.done, flush=True)

async def main():
    async with launching() as run:
        await Catalog(Path(sys.argv[1]), run).make(sys.argv[2], shown)

asyncio.run(main())
"""

_LEFT_OUT = re.compile(
    r"usr/share/(doc|info|lintian|locale|man)(/|$)"
    r"|etc/alternatives/.*\.gz$|var/lib/dpkg/(alternatives|diversions)(/|$)"
)


def kill_in_step_4(cache: Path, name: str) -> None:
    """Leaves the cache of an engine that was killed while dpkg was at work."""
    command = [sys.executable, "-c", _KILLED, str(cache), name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        step, done = map(int, line.split())
        if step == 4 and done > 10:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()


@pytest.mark.timeout(600)
def test_slim_is_debian_without_documentation_and_a_killed_making_begins_again(
    debian: Made, cache: Path
) -> None:
    name = f"debian:{codename(debian)}-slim"
    kill_in_step_4(cache, name)
    work = cache / "work"
    (left,) = {path for path in work.iterdir() if (path / "rootfs/var/cache/apt/archives/dpkg.deb").exists()}
    slim = make(cache, name)
    try:
        # What was killed is gone; what another making still holds is not.
        assert not left.exists()
        assert slim.image.references == (name,)
        ours, whole = tree(slim.root), tree(debian.root)
        assert ours.keys() - whole.keys() == {"etc/dpkg/dpkg.cfg.d/labkernel-slim"}
        same = {path for path in whole if not _LEFT_OUT.match(path)}
        assert {path: ours.get(path) for path in same} == {path: whole[path] for path in same}
        assert "usr/share/doc/bash/copyright" in ours
        files = {path for path in ours if _LEFT_OUT.match(path) and (slim.root / path).is_file()}
        assert {path for path in files if not re.search("/copyright$|^etc/|^var/", path)} == {
            "usr/share/info/dir"
        }
    finally:
        slim.image.discard()
    assert not slim.image.directory.exists()


def test_https_needs_certificates_inside() -> None:
    index = PackageIndex()
    paragraphs = ["Package: dpkg\nVersion: 1\nEssential: yes", "Package: libc6\nVersion: 1"]
    paragraphs += ["Package: apt\nVersion: 1\nPriority: important\nDepends: libc6"]
    paragraphs += ["Package: ca-certificates\nVersion: 1"]
    index.add("\n\n".join(paragraphs).encode(), "")
    chosen, essential = select_packages(index, https=False)
    assert [package.name for package in chosen] == ["apt", "dpkg", "libc6"]
    assert [package.name for package in essential] == ["dpkg"]
    assert "ca-certificates" in {package.name for package in select_packages(index, https=True)[0]}


def test_an_archive_that_is_no_whole_release() -> None:
    index = PackageIndex()
    index.add(b"Package: apt\nVersion: 1", "")
    with pytest.raises(Unavailable, match="no complete Debian release"):
        select_packages(index, https=False)
