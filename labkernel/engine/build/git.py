"""Git repositories that a build reads: Docker's way to write their addresses, and a checkout that trusts
nothing in the repository.

The machine's git does the work, with none of its configuration: no hooks, filters, credential helpers or
questions, no repositories of the machine's own disk and no transports that are programs, be it for the
repository or for its submodules. Where Docker's two builders differ, this is BuildKit's way: without a ref
the repository's own branch, .git left out, no symbolic link in place of a folder.
Source: docs.docker.com/build/concepts/context "Git repositories", git(1).
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from labkernel.engine.build.threads import in_thread
from labkernel.engine.errors import System

LONGEST = 1800.0
"""Seconds for all of a repository, its submodules with it."""
LARGEST = 4 << 30
"""Bytes that the repository and its files may take together."""
MOST_FILES = 1_000_000
_KEPT = 4000
"""Characters of what git says, its end."""

_WEB = ("http://", "https://")
_TRANSPORTS = (*_WEB, "git://", "ssh://", "git@")
_COMMIT = re.compile("[0-9a-f]{7,40}")
_WHOLE = re.compile("^(?:[0-9a-f]{40}|[0-9a-f]{64})$", re.MULTILINE)

# Without a template there are no hooks to begin with. A fetch of few objects would unpack them.
_SETTINGS = """\
[core]
	hooksPath = /dev/null
	fsmonitor = false
	autocrlf = false
	symlinks = true
[credential]
	helper =
	helper = store
[protocol "ext"]
	allow = never
[protocol "file"]
	allow = never
[fetch]
	unpackLimit = 1
[gc]
	auto = 0
[maintenance]
	auto = false
[advice]
	detachedHead = false
[init]
	templateDir =
	defaultBranch = master
[http]
	lowSpeedLimit = 1
	lowSpeedTime = 60
"""


@dataclass(frozen=True)
class GitAddress:
    """`ref` is a branch, a tag or a commit, "" for the branch that the repository itself names (its HEAD);
    `directory` the folder of it that is meant, "" for all."""

    remote: str
    ref: str = ""
    directory: str = ""


@dataclass(frozen=True)
class Checkout:
    """Files at `path` of a commit that was made at `time` (Unix seconds). `names` are the commit's full name
    and, where an annotated tag was asked for, the tag's."""

    path: Path
    time: int
    names: tuple[str, ...]


def is_git(address: str) -> bool:
    """Whether an address means a repository, not a file: by its transport, or by a path that ends in .git."""
    if address.startswith(_WEB):
        return address.partition("#")[0].endswith(".git")
    return address.startswith(("git://", "git@", "ssh://", "github.com/"))


def is_git_source(word: str) -> bool:
    """Whether a source of ADD means a repository: `github.com/x` is a path there."""
    return is_git(word) and not word.startswith("github.com/")


def git_address(text: str) -> GitAddress:
    """`https://host/x.git#ref:folder` and the like. Raises System."""
    if not text.isprintable() or " " in text:
        raise System(f'parse "{text!r}": invalid control character in URL')
    if not text.startswith(_TRANSPORTS):
        text = "https://" + text
    remote, _, fragment = text.partition("#")
    ref, _, directory = fragment.partition(":")
    if ref.startswith("-"):
        raise System(f"invalid refspec: {ref}", hint="a branch, a tag, or a commit stands after the #")
    parts = [part for part in directory.split("/") if part not in ("", ".")]
    if any(part in ("..", ".git") for part in parts):
        raise System(
            f'error setting git context, "{directory}" not within git root',
            hint="what stands after the colon is a folder of the repository",
        )
    return GitAddress(remote, ref, "/".join(parts))


def without_credentials(remote: str) -> tuple[str, str]:
    """A remote on the web without its user and password, and with them as git-credential-store(1) keeps them,
    "" if there are none. Raises System."""
    if not remote.startswith(_WEB):
        return remote, ""
    try:
        parts = urlsplit(remote)
    except ValueError as error:
        raise System(f"parse the repository's address: {error}") from None
    user, _, host = parts.netloc.rpartition("@")
    if not user:
        return remote, ""
    known = user if ":" in user else f"{user}:"  # a token that stands alone
    return urlunsplit(parts._replace(netloc=host)), f"{parts.scheme}://{known}@{host}"


async def check_out(address: GitAddress, place: Path, *, keep_git: bool = False) -> Checkout:
    """The files of a repository, submodules with them, below the empty directory `place`. With `keep_git` the
    folder .git is among them.

    Fetches no more history than it has to. Raises System: no git, no such repository, ref or folder, or one
    beyond the limits.
    """
    top = place / "repository"
    top.mkdir()
    remote, credentials = without_credentials(address.remote)
    git = _Git(place, credentials)
    await git.run("init", "--quiet", failed="failed to init repo")
    await git.run("remote", "add", "origin", remote, failed="failed add origin repo")
    names = await _fetch(git, address)
    ref = address.ref or "HEAD"
    await git.run("checkout", "--quiet", "--detach", names[0], failed=f"error checking out {ref}")
    submodules = ("submodule", "update", "--init", "--recursive", "--quiet")
    await git.run_shallow(*submodules, failed="error initializing submodules")
    time_of_commit = await git.run("show", "--no-patch", "--format=%ct", names[0])
    if keep_git and not address.directory:
        await in_thread(_make_plain, top / ".git")
    else:
        await in_thread(_remove_git, top)
    path = _folder(top, address.directory)
    return Checkout(path, int(time_of_commit.split()[-1]), names)


async def _fetch(git: _Git, address: GitAddress) -> tuple[str, ...]:
    """Get a ref's commit; its name, and that of the tag that points at it."""
    ref = address.ref or "HEAD"
    try:
        await git.run_shallow("fetch", "--quiet", "origin", "--", ref, failed="error fetching")
        found = "FETCH_HEAD"
    except System:
        # A server need not give out any commit it is asked for, nor does it know a shortened name.
        if not _COMMIT.fullmatch(ref):
            raise
        await git.run(
            *("fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*"),
            failed="error fetching",
        )
        found = ref
    names = await git.run(
        *("rev-parse", "--verify", "--end-of-options", f"{found}^{{commit}}"),
        failed=f"error checking out {ref}",
    )
    tag = await git.run("rev-parse", "--verify", "--end-of-options", found)
    # Warnings may stand around them.
    return tuple(dict.fromkeys(_WHOLE.findall(said)[-1] for said in (names, tag)))


class _Git:
    """The machine's git on a repository that is trusted in nothing."""

    def __init__(self, place: Path, credentials: str) -> None:
        self._place = place
        self._deadline = time.monotonic() + LONGEST
        home = place / "home"
        home.mkdir()
        # Apart from the address they are in no argument, message or .git, and go to their own host only.
        store = home / ".git-credentials"
        store.touch(0o600)
        store.write_text(f"{credentials}\n")
        (home / ".gitconfig").write_text(_SETTINGS)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "XDG_"))}
        authorities = os.environ.get("GIT_SSL_CAINFO") or os.environ.get("SSL_CERT_FILE")
        self._environment = {
            **kept,
            "HOME": str(home),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "SSH_ASKPASS": "true",
            "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
            "GIT_ALLOW_PROTOCOL": "http:https:git:ssh",
            "GIT_PROTOCOL_FROM_USER": "0",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_CEILING_DIRECTORIES": str(place),
            **({"GIT_SSL_CAINFO": authorities} if authorities else {}),
        }

    async def run(self, *arguments: str, failed: str = "git failed") -> str:
        """What git prints. Raises System with `failed` and git's words; cancelled, it ends git first."""
        process = await asyncio.create_subprocess_exec(
            *_program(),
            *arguments,
            cwd=self._place / "repository",
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            umask=0o022,
        )
        assert process.stdout is not None  # asked for above
        reading = asyncio.ensure_future(_end_of(process.stdout))
        try:
            while not (await asyncio.wait({reading}, timeout=await self._check()))[0]:
                pass
            said = await reading
            code = await process.wait()
        finally:
            reading.cancel()
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # its helpers as well
                await process.wait()
        if code:
            raise System(f"{failed}: {said}: exit status {code}", hint=_hint(said))
        await self._check()
        return said

    async def run_shallow(self, command: str, *arguments: str, failed: str) -> None:
        """A command that fetches, for one commit and not its history where the server can do that.

        `--depth=1` stands behind the first argument."""
        try:
            await self.run(command, arguments[0], "--depth=1", *arguments[1:], failed=failed)
        except System as error:
            if "dumb http transport" not in error.message:
                raise
            await self.run(command, *arguments, failed=failed)

    async def _check(self) -> float:
        """Seconds until it is time to look again. Raises System for what has become too large or too slow."""
        begun = time.monotonic()
        if begun > self._deadline:
            raise System(
                f"the repository was not there after {LONGEST / 60:.0f} minutes",
                hint="clone it, and build from that",
            )
        size, files = await in_thread(_usage, self._place)
        if size > LARGEST or files > MOST_FILES:
            raise System(
                f"the repository is too large: {size >> 20} MiB in {files} files",
                hint=f"{LARGEST >> 30} GiB and {MOST_FILES} files are the most that a build takes from git",
            )
        return max(0.5, 10 * (time.monotonic() - begun))


def _program() -> list[str]:
    """The words that start git; with setpriv(1), which most machines have, it dies with the engine."""
    git, setpriv = shutil.which("git"), shutil.which("setpriv")
    if git is None:
        raise System(
            "unable to find 'git': exec: \"git\": executable file not found in $PATH",
            hint="install git on the engine's machine, or clone the repository and build from that",
        )
    return [*([setpriv, "--pdeathsig", "KILL"] if setpriv else []), git]


async def _end_of(stream: asyncio.StreamReader) -> str:
    kept = b""
    while data := await stream.read(1 << 16):
        kept = (kept + data)[-_KEPT:]
    return kept.decode("utf-8", "replace")


def _hint(said: str) -> str | None:
    if "ould not read Username" in said or "Authentication failed" in said or "Permission denied" in said:
        return "the repository does not exist, or asks who you are: nobody can be asked during a build"
    if "couldn't find remote ref" in said or "unknown revision" in said or "Needed a single revision" in said:
        return "the repository has no branch, tag or commit of this name"
    if "transport 'file' not allowed" in said or "transport 'ext' not allowed" in said:
        return "repositories are fetched by http, https, git and ssh alone"
    if "ould not resolve host" in said or "Connection refused" in said or "Failed to connect" in said:
        return "the address has to be reachable from the engine's machine"
    return None


def _usage(place: Path) -> tuple[int, int]:
    """Bytes and files below a directory that others write to."""
    size = files = 0
    for entry in _entries(place):
        files += 1
        try:
            size += entry.stat(follow_symlinks=False).st_size
        except OSError:  # gone meanwhile
            continue
        if files > MOST_FILES:
            break
    return size, files


def _entries(directory: Path) -> Iterator[os.DirEntry[str]]:
    pending = [str(directory)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    yield entry
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except OSError:  # gone meanwhile
            continue


def _remove_git(top: Path) -> None:
    """.git, and the files of that name which point into it from submodules."""
    for entry in [entry for entry in _entries(top) if entry.name == ".git"]:
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        elif os.path.lexists(entry.path):
            os.unlink(entry.path)


def _make_plain(git: Path) -> None:
    """Take out of .git what tells of this fetch alone."""
    for name in ("FETCH_HEAD", "ORIG_HEAD"):
        (git / name).unlink(missing_ok=True)
    shutil.rmtree(git / "logs", ignore_errors=True)


def _folder(top: Path, directory: str) -> Path:
    """A real folder of the checkout: links could lead anywhere, so none is followed."""
    path = top
    for part in directory.split("/") if directory else ():
        path /= part
        if path.is_symlink() or not path.is_dir():
            raise System(
                f"error setting git context, not a directory: {directory}"
                if os.path.lexists(path)
                else f"lstat {directory}: no such file or directory",
                hint="what stands after the colon is a folder of the repository, and no symbolic link",
            )
    return path
