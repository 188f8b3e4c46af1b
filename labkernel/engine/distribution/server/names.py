"""Names of repositories, tags and digests as the registry takes them (distribution-spec, "Pulling manifests";
image-spec, descriptor.md). Pure: no I/O."""

from __future__ import annotations

import re

from labkernel.engine.distribution.server.errors import Refused

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_NAME_LIMIT = 255
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}", re.ASCII)


def check_name(name: str) -> str:
    """A repository's name. Raises Refused."""
    if len(name) > _NAME_LIMIT or not _NAME.fullmatch(name):
        raise Refused("NAME_INVALID", "invalid repository name", {"name": name})
    return name


def check_digest(digest: str) -> str:
    """A digest of an algorithm that is computed here. Raises Refused."""
    if not is_digest(digest):
        raise Refused(
            "DIGEST_INVALID", "provided digest is not sha256 or sha512 in hexadecimal", {"digest": digest}
        )
    return digest


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    return _TAG.fullmatch(text) is not None
