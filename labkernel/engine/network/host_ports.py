"""The host's ports: bound for containers, one holder each."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from labkernel.engine.errors import System
from labkernel.engine.network.port_holders import holder_of
from labkernel.engine.network.ports import PortBinding

BACKLOG = 512
#: Where ephemeral ports are taken when the kernel does not say (Docker's own fallback).
FALLBACK_RANGE = range(49153, 65536)


@dataclass
class BoundPort:
    """A host port bound for a container; for TCP it listens. `holder` is the container's name."""

    binding: PortBinding
    host_ip: str
    host_port: int
    socket: socket.socket
    holder: str


class _InUse(Exception):
    """Somebody has the port. `place` is the address and port tried."""

    def __init__(self, host_ip: str, port: int) -> None:
        super().__init__()
        self.host_ip = host_ip
        self.port = port
        self.place = _place(host_ip, port)


class HostPorts:
    """Binds ports and remembers for which container."""

    def __init__(self, ephemeral: range | None = None) -> None:
        self._ephemeral = ephemeral or ephemeral_ports()
        self._bound: dict[tuple[str, int], list[BoundPort]] = {}
        self._last: dict[str, int] = {}

    def bind(self, bindings: Iterable[PortBinding], holder: str) -> list[BoundPort]:
        """Bind all or none. Raises System with the end of Docker's message: why a port could not be had."""
        bound: list[BoundPort] = []
        try:
            for binding in bindings:
                bound += self._bind(binding, holder)
        except BaseException:
            self.release(bound)
            raise
        return bound

    def release(self, ports: Iterable[BoundPort]) -> None:
        """Forget ports and close their sockets."""
        for port in ports:
            port.socket.close()
            key = (port.binding.protocol, port.host_port)
            left = [other for other in self._bound.pop(key, []) if other is not port]
            if left:
                self._bound[key] = left

    def _bind(self, binding: PortBinding, holder: str) -> list[BoundPort]:
        candidates = binding.host_ports or self._ephemeral_from_last(binding.protocol)
        for port in candidates:
            try:
                bound = self._bind_at(binding, port, holder)
            except _InUse as taken:
                if len(binding.host_ports) == 1:
                    raise self._taken(binding.protocol, taken) from None
                continue
            if not binding.host_ports:
                self._last[binding.protocol] = port
            return bound
        ports = binding.host_ports or self._ephemeral
        raise System(
            "all ports are allocated", hint=f"no {binding.protocol} port of {ports[0]}-{ports[-1]} is free"
        )

    def _ephemeral_from_last(self, protocol: str) -> Iterable[int]:
        """Docker goes on from the last port it gave, and starts again at the end."""
        ports = self._ephemeral
        done = self._last.get(protocol, ports.start - 1) - ports.start + 1
        return chain(ports[done:], ports[:done])

    def _bind_at(self, binding: PortBinding, port: int, holder: str) -> list[BoundPort]:
        bound: list[BoundPort] = []
        try:
            for host_ip in host_addresses(binding.host_ip):
                opened = self._open(binding, host_ip, port)
                if opened:
                    entry = BoundPort(binding, host_ip, port, opened, holder)
                    self._bound.setdefault((binding.protocol, port), []).append(entry)
                    bound.append(entry)
        except BaseException:
            self.release(bound)
            raise
        return bound

    def _open(self, binding: PortBinding, host_ip: str, port: int) -> socket.socket | None:
        """A bound socket; None for the IPv6 half of "all addresses" on a host without IPv6."""
        try:
            return _bound_socket(binding.protocol, host_ip, port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise _InUse(host_ip, port) from error
            no_ipv6 = error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
            if no_ipv6 and host_ip == "::" and not binding.host_ip:
                return None
            raise System(_refused(binding.protocol, host_ip, port, error), hint=_hint(error, port)) from error

    def _taken(self, protocol: str, taken: _InUse) -> System:
        ours = self._bound.get((protocol, taken.port))
        if ours:
            return System(
                f"Bind for {taken.place} failed: port is already allocated",
                hint=f"container {ours[0].holder} publishes it: stop that one, or choose another host port",
            )
        in_use = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        return System(
            _refused(protocol, taken.host_ip, taken.port, in_use),
            hint=f"{holder_of(taken.port, protocol)} holds it: end that, or choose another host port",
        )


def host_addresses(host_ip: str) -> list[str]:
    """The addresses that a binding's HostIp stands for: none named is all of IPv4 and all of IPv6."""
    return [host_ip] if host_ip else ["0.0.0.0", "::"]


def ephemeral_ports() -> range:
    """The kernel's range of ephemeral ports, which Docker publishes in."""
    with contextlib.suppress(OSError, ValueError):
        first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
        return range(int(first), int(last) + 1)
    return FALLBACK_RANGE


def _bound_socket(protocol: str, host_ip: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host_ip else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    made = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "tcp":
            # A port whose last connections are still closing (TIME_WAIT) can be bound again.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host_ip, port))
        if protocol == "tcp":
            made.listen(BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def _place(host_ip: str, port: int) -> str:
    return f"[{host_ip}]:{port}" if ":" in host_ip else f"{host_ip}:{port}"


def _refused(protocol: str, host_ip: str, port: int, error: OSError) -> str:
    version = 6 if ":" in host_ip else 4
    reason = os.strerror(error.errno or 0).lower()
    return (
        f"Error starting userland proxy: listen {protocol}{version} {_place(host_ip, port)}: bind: {reason}"
    )


def _hint(error: OSError, port: int) -> str | None:
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"ports below 1024 are for root here: choose another host port, such as {8000 + port % 1000}"
    if error.errno == errno.EADDRNOTAVAIL:
        return "no interface of this machine has that address; `ip address` lists them"
    return None
