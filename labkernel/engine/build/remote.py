"""A build from an address: a Dockerfile or an archive on the web, or a git repository.

Source: docs.docker.com/reference/api/engine, "Build an image", `remote`.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from labkernel.engine.build import web
from labkernel.engine.build.context import BuildContext
from labkernel.engine.build.git import Checkout, check_out, git_address, is_git
from labkernel.engine.build.interface import Output
from labkernel.engine.build.threads import in_thread, temporary
from labkernel.engine.errors import EngineError, InvalidParameter, System
from labkernel.engine.image.compression import detect
from labkernel.engine.image.store import Store
from labkernel.engine.image.tarwriter import write_tar

_ACCEPTED = re.compile(r"text/plain|application/(?:(?:x-)?(?:tar|gzip|bzip2?|xz|zstd)|octet-stream)")
_LARGEST_DOCKERFILE = 1 << 20


class _DockerfileAlone(BuildContext):
    """What a build has that was given the address of a Dockerfile: nothing to copy from."""

    def __init__(self, text: bytes) -> None:
        super().__init__(-1)
        self._text = text

    def close(self) -> None:
        """There is no spool file."""

    def read(self, path: str) -> bytes | None:
        return None if path.endswith(".dockerignore") else self._text

    def require(self) -> None:
        raise InvalidParameter(
            "missing build context",
            hint="a Dockerfile's address gives no files; one of an archive or of git does",
        )


async def remote_context(
    address: str, store: Store, output: Output, *, keep_git: bool = False
) -> BuildContext:
    """The context at an address; the caller closes it. With `keep_git` a repository's .git is part of it.

    Raises EngineError in dockerd's words.
    """
    async with temporary(store) as place:
        if is_git(address):
            where = git_address(address)
            return await in_thread(tree_context, await check_out(where, place, keep_git=keep_git), store)
        if not address.startswith(("http://", "https://")):
            raise System(
                f"remoteURL ({address}) could not be recognized as URL",
                hint="http:// and https:// for a Dockerfile, an archive, or git; git:// and git@ for git",
            )
        return await _from_web(address, place, store, output)


def tree_context(checkout: Checkout, store: Store) -> BuildContext:
    """A repository's files as a tree to copy from. No file is younger than the commit, so the layers that are
    made of them are the same tomorrow."""
    with store.temporary() as place, tempfile.TemporaryFile(dir=place) as tar:
        write_tar(checkout.path, ".", tar, name="", newest=checkout.time)
        tar.seek(0)
        return BuildContext.receive(tar, place)


async def _from_web(url: str, place: Path, store: Store, output: Output) -> BuildContext:
    path = place / "download"
    kinds: list[str] = []

    def check(kind: str, start: bytes) -> None:
        kinds.append(_accepted(url, kind, start))

    try:
        await in_thread(web.fetch, url, path, web.reporter(output, url, id="Downloading context"), check)
    except _Unsupported:
        raise
    except EngineError as error:
        error.message = f"error downloading remote context {url}: {error.message}"
        raise
    return await in_thread(_read, path, kinds[0], store)


def _read(path: Path, kind: str, store: Store) -> BuildContext:
    with path.open("rb") as file, store.temporary() as place:
        if "text/plain" in kind:
            return _DockerfileAlone(file.read(_LARGEST_DOCKERFILE))
        return BuildContext.receive(file, place)


class _Unsupported(System):
    """What is at the address is nothing to build from."""


def _accepted(url: str, kind: str, start: bytes) -> str:
    """The kind of content, by what the server says of it or by its first bytes. Raises _Unsupported."""
    problem = f"error detecting content type for remote {url}:"
    if not start:
        raise _Unsupported(f"{problem} empty response")
    if not kind or kind == "application/octet-stream":
        kind = _kind(start)
    if not _ACCEPTED.search(kind):
        raise _Unsupported(
            f'{problem} unsupported Content-Type "{kind}"',
            hint="a Dockerfile as text/plain, or a tar",
        )
    return kind


def _kind(start: bytes) -> str:
    """What the first bytes say, where the server does not: a web page, a text, or something packed."""
    if start.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "text/html"
    return "application/octet-stream" if detect(start) or b"\0" in start else "text/plain"
