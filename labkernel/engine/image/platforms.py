"""The platform that images are chosen for: this machine's, or one that was asked for."""

from __future__ import annotations

import re

from labkernel.engine.distribution.manifests import Platform
from labkernel.engine.errors import InvalidParameter, NotFound
from labkernel.engine.image.config import ImageConfig, architecture, variant


def own_platform() -> Platform:
    return Platform("linux", architecture(), variant())


_SYSTEMS = frozenset(("linux", "windows", "darwin", "freebsd"))
_ARCHITECTURES = frozenset(("386 amd64 arm arm64 loong64 mips64le ppc64le riscv64 s390x").split())
_ALIASES = {"aarch64": "arm64", "x86_64": "amd64", "x86-64": "amd64", "i386": "386", "armhf": "arm"}


def parse_platform(text: str) -> Platform:
    """`linux/arm64/v8`, `arm64`, or nothing for this machine's own. Raises InvalidParameter in dockerd's
    words."""
    own = own_platform()
    parts = [_ALIASES.get(part, part) for part in text.lower().split("/")]
    if text in ("", own.os):
        return own
    if len(parts) == 1 and parts[0] in _SYSTEMS:
        return own._replace(os=parts[0])
    if len(parts) == 1 and parts[0] not in _ARCHITECTURES:
        problem = "unknown operating system or architecture"
    elif len(parts) > 3 or not all(re.fullmatch("[a-z0-9_-]+", part) for part in parts):
        problem = "cannot parse platform specifier"
    else:
        system, architecture, *variants = parts if len(parts) > 1 else ["linux", *parts]
        return Platform(system, architecture, variants[0] if variants else None)
    raise InvalidParameter(
        f'"{text}": {problem}: invalid argument', hint=f"one looks like linux/amd64; this machine's is {own}"
    )


def check_platform(name: str, document: ImageConfig, wanted: str) -> None:
    """Raises NotFound, in dockerd's words, when an image says that it is for another platform than is wanted;
    InvalidParameter as `parse_platform`."""
    if not wanted:
        return
    platform = parse_platform(wanted)
    architecture = document.get("architecture") or platform.architecture
    actual = Platform(document.get("os") or platform.os, architecture, document.get("variant"))
    if actual[:2] != platform[:2] or (actual.variant and platform.variant not in (None, actual.variant)):
        raise NotFound(
            f"image with reference {name} was found but does not match the specified platform: "
            f"wanted {platform}, actual: {actual}",
            hint=f"this machine runs programs for {own_platform()}",
        )
