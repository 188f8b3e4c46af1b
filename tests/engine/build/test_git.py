"""Git addresses, and checkouts of repositories that mean no good."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from pathlib import Path

import pytest

from labkernel.engine.build import git
from labkernel.engine.build.git import GitAddress, check_out, git_address, is_git, without_credentials
from labkernel.engine.errors import System
from tests.support.site import COMMIT_TIME, Site


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://h/x.git", GitAddress("https://h/x.git")),
        ("http://h/x.git#v1", GitAddress("http://h/x.git", "v1")),
        ("git://h/x#:sub/dir", GitAddress("git://h/x", "", "sub/dir")),
        ("git@h:u/x.git#a/b:./sub/", GitAddress("git@h:u/x.git", "a/b", "sub")),
        ("ssh://u@h:22/x#v1:", GitAddress("ssh://u@h:22/x", "v1")),
        ("github.com/u/x", GitAddress("https://github.com/u/x")),
        ("https://h/x.git#v:a:b", GitAddress("https://h/x.git", "v", "a:b")),
    ],
)
def test_addresses(text: str, address: GitAddress) -> None:
    assert is_git(text)
    assert git_address(text) == address


@pytest.mark.parametrize("text", ["https://h/x", "http://h/x.git/y", "file:///x.git", "/x.git"])
def test_what_is_no_repository(text: str) -> None:
    assert not is_git(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://h/x.git#-x", "invalid refspec: -x"),
        ("https://h/x.git#:../y", 'error setting git context, "../y" not within git root'),
        ("https://h/x.git#:a/.git/hooks", 'error setting git context, "a/.git/hooks" not within git root'),
        ("https://h/x.git#a\nb", "invalid control character in URL"),
        ("git@ext::sh -c x", "invalid control character in URL"),
    ],
)
def test_refused_addresses(text: str, message: str) -> None:
    with pytest.raises(System) as caught:
        git_address(text)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("remote", "alone", "credentials"),
    [
        ("https://me:pass@h/x.git", "https://h/x.git", "https://me:pass@h"),
        ("http://token@h:81/x.git", "http://h:81/x.git", "http://token:@h:81"),
        ("https://token:@h/x.git", "https://h/x.git", "https://token:@h"),
        ("https://h/x.git", "https://h/x.git", ""),
        ("ssh://me@h/x.git", "ssh://me@h/x.git", ""),
        ("git@h:me/x.git", "git@h:me/x.git", ""),
    ],
)
def test_credentials_leave_the_address(remote: str, alone: str, credentials: str) -> None:
    assert without_credentials(remote) == (alone, credentials)


def test_a_remote_that_is_no_address() -> None:
    with pytest.raises(System, match="parse"):
        without_credentials("http://[x.git")


def checked_out(address: str, place: Path, **options: bool) -> git.Checkout:
    place.mkdir(exist_ok=True)
    return asyncio.run(check_out(git_address(address), place, **options))


def files(checkout: git.Checkout) -> set[str]:
    return {str(path.relative_to(checkout.path)) for path in checkout.path.rglob("*") if not path.is_dir()}


@pytest.fixture(params=["file server", "git's own"])
def base(request: pytest.FixtureRequest, site: Site, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    smart = request.param == "git's own"
    return f"git://127.0.0.1:{site.git_port}" if smart else f"http://127.0.0.1:{site.port}"


def test_refs(site: Site, base: str, tmp_path: Path) -> None:
    """A branch, a tag, a commit, a shortened one, and none at all."""
    name = "history" + base.partition(":")[0]
    first = site.repository(name, {"one": "1"})
    site.git("-C", f"{name}-work", "tag", "-a", "-m", "x", "v1")
    second = site.repository(name, {"two": "2"})
    tag = site.git("-C", f"{name}-work", "rev-parse", "v1")
    for number, (ref, commit) in enumerate(
        (("", second), ("#trunk", second), ("#v1", first), (f"#{first}", first), (f"#{first[:8]}", first))
    ):
        found = checked_out(f"{base}/{name}.git{ref}", tmp_path / str(number))
        assert found.names[0] == commit, ref
        assert found.time == COMMIT_TIME
        assert files(found) == ({"one"} if commit == first else {"one", "two"})
        assert (tag in found.names) == (ref == "#v1")
    if base.startswith("git://"):
        # No more history than was asked for.
        kept = checked_out(f"{base}/{name}.git", tmp_path / "kept", keep_git=True)
        counted = subprocess.run(
            ["git", "rev-list", "--count", "HEAD"], cwd=kept.path, capture_output=True, text=True, check=True
        )
        assert counted.stdout == "1\n"
        assert not (kept.path / ".git/hooks").exists()


@pytest.mark.parametrize(
    ("fragment", "message"),
    [
        ("#none", "error fetching: fatal: couldn't find remote ref none"),
        ("#0123456789", "error checking out 0123456789"),
        ("#:link", "error setting git context, not a directory: link"),
        ("#:up/up", "error setting git context, not a directory: up/up"),
        ("#:sub/away", "error setting git context, not a directory: sub/away"),
        ("#:file", "error setting git context, not a directory: file"),
        ("#:none", "lstat none: no such file or directory"),
    ],
)
def test_what_is_not_there(base: str, tmp_path: Path, fragment: str, message: str) -> None:
    with pytest.raises(System) as caught:
        checked_out(f"{base}/project.git{fragment}", tmp_path)
    assert message in caught.value.message
    assert caught.value.hint


def test_submodules(site: Site, base: str, tmp_path: Path) -> None:
    """Those that the web has come along; the machine's own files are out of reach, and no program is run."""
    if not (site.directory / "inner.git").exists():
        site.repository("inner", {"inner": "x"})
    commit = site.git("-C", "inner-work", "rev-parse", "HEAD")
    for name, url in (
        ("good", "../inner.git"),
        ("local", f"file://{site.directory}/inner.git"),
        ("path", f"{site.directory}/inner.git"),
        ("program", "ext::sh -c touch% /tmp/labkernel-was-here"),
    ):
        section = f'[submodule "m"]\n\tpath = m\n\turl = {url}\n'
        if not (site.directory / f"outer-{name}.git").exists():
            site.repository(f"outer-{name}", {".gitmodules": section})
            site.git("-C", f"outer-{name}-work", "update-index", "--add", "--cacheinfo", f"160000,{commit},m")
            site.git("-C", f"outer-{name}-work", "commit", "--quiet", "--message=x")
            site.push(f"outer-{name}")
    assert files(checked_out(f"{base}/outer-good.git", tmp_path / "good")) == {".gitmodules", "m/inner"}
    for name in ("local", "path", "program"):
        with pytest.raises(System, match=r"(?s)error initializing submodules: .*not allowed"):
            checked_out(f"{base}/outer-{name}.git", tmp_path / name)
    assert not Path("/tmp/labkernel-was-here").exists()


def test_limits(site: Site, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git, "LARGEST", 1000)
    with pytest.raises(System, match="the repository is too large: 0 MiB in"):
        checked_out(f"{base}/project.git", tmp_path / "large")
    monkeypatch.setattr(git, "LONGEST", 0.0)
    with pytest.raises(System, match="the repository was not there after"):
        checked_out(f"{base}/project.git", tmp_path / "slow")


def test_no_git(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(System, match="unable to find 'git'") as caught:
        checked_out(f"{base}/project.git", tmp_path)
    assert "install git" in (caught.value.hint or "")


def test_a_server_that_says_nothing_is_left_with_its_client(tmp_path: Path) -> None:
    async def leave(port: int) -> None:
        fetching = asyncio.ensure_future(check_out(git_address(f"git://127.0.0.1:{port}/x"), tmp_path))
        connection, _ = await asyncio.get_running_loop().run_in_executor(None, server.accept)
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        connection.settimeout(10)
        while connection.recv(1000):
            pass
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        asyncio.run(leave(server.getsockname()[1]))
