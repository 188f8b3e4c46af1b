"""How an image was made: the entries of its history as the lines of a Dockerfile."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

SETTINGS = (
    *("ARG", "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL"),
    *("MAINTAINER", "ONBUILD", "SHELL", "STOPSIGNAL", "USER", "VOLUME"),
)
"""Instructions that make no layer."""


def instruction(entry: Mapping[str, Any]) -> str:
    """A history entry as the line of a Dockerfile that it came from."""
    text = re.sub(r"\s+", " ", entry.get("CreatedBy") or "").strip()
    text = text.removesuffix("# buildkit").strip()
    configured = re.match(r"/bin/sh -c #\(nop\) ?(.*)", text)
    if configured:
        # The checksum of what was copied says nothing to a reader.
        return re.sub(r"\b(file|dir|multi):[0-9a-f]{8,}", r"\1", configured[1].strip())
    if text.startswith("/bin/sh -c "):
        return "RUN " + text.removeprefix("/bin/sh -c ")
    with_arguments = re.match(r"\|\d+ .*?/bin/sh -c (.*)", text)
    if with_arguments:
        return "RUN " + with_arguments[1]
    return text or entry.get("Comment") or "(no record of how it was made)"
