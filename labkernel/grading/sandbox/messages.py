"""What the grader and the processes of a sandbox say to each other: JSON objects, one a packet."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Mapping
from typing import Any

LARGEST = 400_000
"""Bytes of a message; a cell's source is one. Linux sends no larger packet unless its administrator says so
(net.core.wmem_max).
"""


def send(channel: socket.socket, message: Mapping[str, Any], descriptors: list[int] | None = None) -> None:
    """Raises OSError: whoever listened is gone, or the message is too large (EMSGSIZE)."""
    data = json.dumps(message, ensure_ascii=False).encode(errors="surrogatepass")
    if len(data) > LARGEST:
        raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
    if descriptors:
        socket.send_fds(channel, [data], descriptors)
    else:
        channel.send(data)


def receive(channel: socket.socket) -> Any:
    """The next message, {} where it makes no sense, None at the end."""
    try:
        data = channel.recv(LARGEST)
    except ConnectionResetError:
        return None
    return _read(data)


def receive_with_descriptors(channel: socket.socket) -> tuple[Any, list[int]]:
    data, descriptors, _, _ = socket.recv_fds(channel, LARGEST, 8)
    return _read(data), list(descriptors)


def _read(data: bytes) -> Any:
    if not data:
        return None
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def pair() -> tuple[socket.socket, socket.socket]:
    """A channel: packets of up to LARGEST bytes, and its end is noticed."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST)
    return ends
