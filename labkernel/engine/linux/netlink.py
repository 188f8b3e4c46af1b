"""Netlink: messages, attributes and a socket that waits for the kernel's answers (netlink(7)).

Messages are packed by hand because a container's start pays for them: packing and sending the whole of an
interface takes a tenth of a millisecond. `rtnetlink` and `nftables` name the messages.
"""

from __future__ import annotations

import os
import socket
import struct

TYPE_CHECKING = False  # typing itself is not loaded: see runtime.launcher
if TYPE_CHECKING:
    from collections.abc import Iterator

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800

NLMSG_ERROR = 2
NLMSG_DONE = 3

NLA_F_NESTED = 0x8000
_NLA_TYPE_MASK = 0x3FFF

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_LENGTH = _SEQUENCE = struct.Struct("=I")
_SEQUENCE_OFFSET = 8
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
    """A request. The socket that sends it puts the sequence number in."""
    return _HEADER.pack(_HEADER.size + len(payload), kind, NLM_F_REQUEST | flags, 0, 0) + payload


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(type, sequence number, payload) of each message in one datagram."""
    position = 0
    while position + _HEADER.size <= len(data):
        length, kind, _, sequence, _ = _HEADER.unpack_from(data, position)
        if length < _HEADER.size:
            return
        yield kind, sequence, data[position + _HEADER.size : position + length]
        position += _padded(length)


def _padded(length: int) -> int:
    return (length + 3) & ~3


class NetlinkSocket:
    """A netlink socket of the network namespace that the making thread is in; it stays in it. Not
    thread-safe.
    """

    def __init__(self, family: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        self._sequence = 0

    def request(self, *requests: bytes, call: str, answers: int | None = None) -> None:
        """Send requests made with NLM_F_ACK in one datagram and wait for their answers.

        `answers` is the number of answers where it is not one a request (nftables batches). The first failure
        is raised as OSError, with `call` as its filename; rtnetlink still works on the requests after the
        failed one.
        """
        sequence = self._send(b"".join(requests))
        awaited = len(requests) if answers is None else answers
        while awaited > 0:
            for kind, answered, payload in messages(self._socket.recv(65536)):
                if kind == NLMSG_ERROR and answered == sequence:
                    _raise_error(payload, call)
                    awaited -= 1

    def ask(self, request: bytes, call: str) -> bytes:
        """The payload of the one message that answers a request made without flags."""
        sequence = self._send(request)
        while True:
            for kind, answered, payload in messages(self._socket.recv(65536)):
                if answered != sequence:
                    continue
                if kind == NLMSG_ERROR:
                    _raise_error(payload, call)
                return payload

    def dump(self, request: bytes, call: str) -> list[tuple[int, bytes]]:
        """(type, payload) of every message that answers a request made with NLM_F_DUMP."""
        sequence = self._send(request)
        found: list[tuple[int, bytes]] = []
        while True:
            for kind, answered, payload in messages(self._socket.recv(1 << 20)):
                if answered != sequence:
                    continue
                if kind == NLMSG_DONE:
                    return found
                if kind == NLMSG_ERROR:
                    _raise_error(payload, call)
                found.append((kind, payload))

    def _send(self, requests: bytes) -> int:
        """Number the requests alike: answers to earlier ones that failed half-way may still be waiting."""
        self._sequence += 1
        data = bytearray(requests)
        position = 0
        while position < len(data):
            _SEQUENCE.pack_into(data, position + _SEQUENCE_OFFSET, self._sequence)
            position += _padded(_LENGTH.unpack_from(data, position)[0])
        self._socket.send(data)
        return self._sequence

    def close(self) -> None:
        self._socket.close()


def _raise_error(payload: bytes, call: str) -> None:
    """Read struct nlmsgerr; zero is an acknowledgement."""
    (error,) = struct.unpack_from("=i", payload)
    if error:
        raise OSError(-error, os.strerror(-error), call)
