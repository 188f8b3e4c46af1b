"""The platform that images are chosen for: this machine's, or one that was asked for."""

from __future__ import annotations

from labkernel.engine.distribution.manifests import Platform
from labkernel.engine.errors import InvalidParameter
from labkernel.engine.image.config import architecture, variant


def own_platform() -> Platform:
    return Platform("linux", architecture(), variant())


def parse_platform(text: str) -> Platform:
    """`linux/arm64/v8`, `arm64`, or nothing for this machine's own. Raises InvalidParameter."""
    parts = text.split("/")
    if text in ("", "linux"):
        return own_platform()
    if len(parts) == 1:
        parts = ["linux", *parts]
    if len(parts) > 3 or not all(part.isalnum() for part in parts):
        raise InvalidParameter(f'"{text}" is an invalid platform', hint="one looks like linux/amd64")
    return Platform(parts[0], parts[1], parts[2] if len(parts) == 3 else None)
