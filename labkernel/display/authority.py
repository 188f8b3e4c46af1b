"""The cookie that lets a program in, and the file in which X programs look for theirs (Xau(3)).

Entries are: family, address, display number, name, data; a 16-bit big-endian family, then four strings, each
with its length as 16 bits in front.
"""

from __future__ import annotations

import secrets
import socket
import struct

MAGIC_COOKIE = b"MIT-MAGIC-COOKIE-1"
FAMILY_LOCAL = 256
FAMILY_WILD = 65535


def new_cookie() -> bytes:
    """16 random bytes."""
    return secrets.token_bytes(16)


def authority(cookie: bytes, number: int | None = None) -> bytes:
    """The content of an .Xauthority file for display `number` (any, while it is not yet known).

    The first entry counts on every host: in a container, the host has another name. The second names this
    one, for the libraries (python-xlib) that know no wild entries.
    """
    display = b"" if number is None else str(number).encode()
    host = socket.gethostname().encode()
    return _entry(FAMILY_WILD, b"", display, cookie) + _entry(FAMILY_LOCAL, host, display, cookie)


def _entry(family: int, address: bytes, number: bytes, cookie: bytes) -> bytes:
    strings = (address, number, MAGIC_COOKIE, cookie)
    return struct.pack(">H", family) + b"".join(struct.pack(">H", len(s)) + s for s in strings)


def cookie_in(content: bytes) -> bytes:
    """The cookie of a file that `authority` made. Raises ValueError for any other."""
    if len(content) < 16 or MAGIC_COOKIE not in content:
        raise ValueError("no cookie")
    return content[-16:]
