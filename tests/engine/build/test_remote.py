"""Builds from an address, by us and by dockerd, and through the stock client."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.support.daemons import Daemon
from tests.support.site import DOCKERFILE, Site

CONTEXT = {"copied/Dockerfile", "copied/file", "copied/other"}
SUB = {"copied/Dockerfile", "copied/away"}
PROJECT = {*CONTEXT, "copied/link", "copied/sub/Dockerfile", "copied/sub/away", "copied/up"}

# What the last layer has; or the status and the message.
CASES: dict[str, tuple[str, dict[str, str], set[str] | tuple[int, str]]] = {
    "a Dockerfile": ("/Dockerfile", {}, {"made"}),
    "a Dockerfile that copies": ("/copies", {}, (200, "COPY failed: missing build context")),
    "a tar": ("/plain.tar", {}, CONTEXT),
    "gzip": ("/packed.tar.gz", {}, CONTEXT),
    "xz, another Dockerfile": ("/packed.tar.xz", {"dockerfile": "other"}, {"only"}),
    "an empty file": ("/empty", {}, (500, "error detecting content type for remote URL: empty response")),
    "a web page": (
        "/page.html",
        {},
        (500, 'error detecting content type for remote URL: unsupported Content-Type "text/html"'),
    ),
    "nothing": ("/none", {}, (404, "error downloading remote context URL: failed to GET URL with status 404 .*")),
    "a repository": ("/project.git", {}, PROJECT),
    "a branch": ("/project.git#trunk", {"dockerfile": "other"}, {"only"}),
    "a folder": ("/project.git#master:sub", {}, SUB),
    "no ref": ("/project.git#none", {}, (500, "error fetching: fatal: couldn't find remote ref none\n: exit status 128")),
    "no repository": ("/none.git", {}, (500, "error fetching: fatal: repository 'URL/' not found\n: exit status 128")),
    "an option": ("/project.git#-x", {}, (500, "invalid refspec: -x")),
    "a way out": ("/project.git#:../..", {}, (500, 'error setting git context, "../.." not within git root.*')),
    "a file": ("/project.git#:file", {}, (500, "error setting git context, not a directory: .*file")),
    "no folder": ("/project.git#:none", {}, (500, "l?stat .*none: no such file or directory")),
}  # fmt: skip


def last_layer(daemon: Daemon, image: str) -> set[str]:
    """The files that the last step made."""
    saved = daemon.http.call("GET", f"/images/{image}/get").body
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
        layers = [name for name in archive.getnames() if name.endswith("layer.tar")]
        if layers:
            import json

            manifest = archive.extractfile("manifest.json")
            assert manifest
            name = json.load(manifest)[0]["Layers"][-1]
            content = archive.extractfile(name)
            assert content
            with tarfile.open(fileobj=content) as layer:
                return {member.name for member in layer if not member.isdir()}
    raise AssertionError("no layers")
