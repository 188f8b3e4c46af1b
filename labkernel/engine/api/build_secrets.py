"""The headers of `POST /build` that hold what no step may keep; Docker's classic API has none.

In headers, as logins are: a body can be a stream without an end, and a query is what gets logged. Both are
base64 of a JSON object: X-Labkernel-Build-Secrets of contents, in base64 again, by the secrets' ids;
X-Labkernel-Build-Ssh of paths by the agents' ids. A path is one of the engine's machine: whoever may speak
to an engine's socket is on it, and can bind-mount any file of it as well.
"""

from __future__ import annotations

import base64
import binascii
import json

from labkernel.engine.errors import InvalidParameter
from labkernel.engine.http.server import Request

_SECRETS, _SSH = "X-Labkernel-Build-Secrets", "X-Labkernel-Build-Ssh"
LARGEST = 500 * 1024
"""Bytes of a secret, as for BuildKit."""


def secrets(request: Request) -> dict[str, bytes]:
    """Raises InvalidParameter, which shows no value."""
    found = {}
    for name, text in _header(request, _SECRETS).items():
        found[name] = _decoded(text, _SECRETS)
        if len(found[name]) > LARGEST:
            raise InvalidParameter(f"secret {name} too big. max size {LARGEST // 1024}KB")
    return found


def ssh(request: Request) -> dict[str, str]:
    """Raises InvalidParameter."""
    found = _header(request, _SSH)
    for name, path in found.items():
        if not path.startswith("/") or "\0" in path:
            raise InvalidParameter(f"invalid SSH agent {name}: the path of a socket has to be absolute")
    return found


def _header(request: Request, header: str) -> dict[str, str]:
    text = request.headers.get(header.lower(), "")
    if not text:
        return {}
    try:
        found = json.loads(_decoded(text, header))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise InvalidParameter(f"invalid {header}: no JSON object of strings")
    return found


def _decoded(text: str, header: str) -> bytes:
    try:
        return base64.b64decode(text.encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise InvalidParameter(f"invalid {header}: no base64") from None
