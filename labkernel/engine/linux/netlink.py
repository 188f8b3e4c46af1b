"""Netlink: messages, attributes and a socket that waits for the kernel's answers (netlink(7)).

Messages are packed by hand because a container's start pays for them: packing and sending the whole of an interface
takes a tenth of a millisecond. `rtnetlink` and `nftables` name the messages.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP = 0x300
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800

NLMSG_ERROR = 2
NLMSG_DONE = 3

NLA_F_NESTED = 0x8000
_NLA_TYPE_MASK = 0x3FFF

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """A string attribute: zero-terminated."""
    return attribute(kind, value.encode() + b"\0")


def attributes(data: bytes) -> dict[int, bytes]:
    """Type -> value of a run of attributes; a repeated type keeps its last value."""
    found: dict[int, bytes] = {}
    position = 0
    while position + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, position)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _NLA_TYPE_MASK] = data[position + _ATTRIBUTE.size : position + length]
        position += _padded(length)
    return found


def message(kind: int, flags: int, payload: bytes) -> bytes:
    """A request. Its sequence number is 0: one socket never has two requests under way."""
    return _HEADER.pack(_HEADER.size + len(payload), kind, NLM_F_REQUEST | flags, 0, 0) + payload


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of each message in one datagram."""
    position = 0
    while position + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, position)
        if length < _HEADER.size:
            return
        yield kind, data[position + _HEADER.size : position + length]
        position += _padded(length)


def _padded(length: int) -> int:
    return (length + 3) & ~3


class NetlinkSocket:
    """A netlink socket of the network namespace that the making thread is in; it stays in it. Not thread-safe."""

    def __init__(self, family: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)

    def request(self, *requests: bytes, call: str, expect: int | None = None) -> None:
        """Send requests made with NLM_F_ACK in one datagram and wait for all their answers.

        `expect` is the number of answers where it is not one a request (nftables batches). The kernel works on after a
        request that fails; the first failure is raised as OSError, with `call` as its filename.
        """
        self._socket.send(b"".join(requests))
        failure = 0
        awaited = len(requests) if expect is None else expect
        while awaited > 0:
            for kind, payload in messages(self._socket.recv(65536)):
                if kind == NLMSG_ERROR:
                    awaited -= 1
                    failure = failure or -struct.unpack_from("=i", payload)[0]
        if failure:
            raise OSError(failure, os.strerror(failure), call)

    def dump(self, request: bytes, call: str) -> list[tuple[int, bytes]]:
        """(type, payload) of every message that answers a request made with NLM_F_DUMP."""
        self._socket.send(request)
        found = []
        while True:
            for kind, payload in messages(self._socket.recv(1 << 20)):
                if kind == NLMSG_DONE:
                    return found
                if kind == NLMSG_ERROR:
                    error = -struct.unpack_from("=i", payload)[0]
                    raise OSError(error, os.strerror(error), call)
                found.append((kind, payload))

    def close(self) -> None:
        self._socket.close()
