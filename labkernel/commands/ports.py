"""Published ports in words: 0.0.0.0:8080->80/tcp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def host_port(address: str, port: int | str) -> str:
    """host:port, with brackets around an IPv6 address."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def ports_column(ports: Sequence[Mapping[str, Any]]) -> str:
    """The PORTS column from the API's list of {IP, PrivatePort, PublicPort, Type}.

    Neighbouring ports are joined to a range: those only exposed (`80-81/tcp`), and those published under
    their own number (`0.0.0.0:80-81->80-81/tcp`). Ports published under another number come last, one by one.
    """
    ranges: list[tuple[str, str, list[int]]] = []  # address, protocol, [first, last]
    open_ranges: dict[tuple[str, str], list[int]] = {}
    closed: list[str] = []
    others: list[str] = []
    for entry in sorted(
        ports, key=lambda p: (p["PrivatePort"], p.get("IP", ""), p.get("PublicPort", 0), p["Type"])
    ):
        private, address, protocol = entry["PrivatePort"], entry.get("IP", ""), entry["Type"]
        public = entry.get("PublicPort", 0)
        if address and public != private:
            others.append(f"{host_port(address, public)}->{private}/{protocol}")
            continue
        bounds = open_ranges.get((address, protocol))
        if bounds and private == bounds[1] + 1:
            bounds[1] = private
            continue
        if bounds:
            closed.append(_range(address, protocol, bounds))
            bounds[:] = [private, private]
            continue
        bounds = open_ranges[address, protocol] = [private, private]
        ranges.append((address, protocol, bounds))
    return ", ".join(closed + [_range(*entry) for entry in ranges] + others)


def _range(address: str, protocol: str, bounds: Sequence[int]) -> str:
    first, last = bounds
    numbers = str(first) if first == last else f"{first}-{last}"
    if address:
        numbers = f"{host_port(address, numbers)}->{numbers}"
    return f"{numbers}/{protocol}"
