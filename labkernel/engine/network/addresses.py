"""Subnets and the addresses in them. Pure."""

from __future__ import annotations

import heapq
import ipaddress
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from labkernel.engine.errors import Forbidden, System

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = TypeVar("Address", ipaddress.IPv4Address, ipaddress.IPv6Address)


def candidate_subnets() -> Iterator[ipaddress.IPv4Network]:
    """The subnets Docker tries for a bridge, in its order: 172.17-31.0.0/16, then 192.168.0.0/20 and on."""
    for second in range(17, 32):
        yield ipaddress.IPv4Network(f"172.{second}.0.0/16")
    yield from ipaddress.IPv4Network("192.168.0.0/16").subnets(new_prefix=20)


def choose_subnet(taken: Iterable[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
    """The first candidate that overlaps none of the host's routes (the default route does not count)."""
    routes = [route for route in taken if route.prefixlen > 0]
    for subnet in candidate_subnets():
        if not any(subnet.overlaps(route) for route in routes):
            return subnet
    raise System(
        "could not find an available, non-overlapping IPv4 address pool among the defaults"
        " to assign to the network",
        hint="the host routes all of 172.17-31.0.0/16 and 192.168.0.0/16 elsewhere; `ip route` shows where",
    )


def mac_of(address: ipaddress.IPv4Address) -> str:
    """The MAC that Docker derives from an address: 172.17.0.2 -> 02:42:ac:11:00:02.

    The same address always has the same MAC, so a neighbour's ARP entry survives the address's next holder.
    """
    return "02:42:" + address.packed.hex(":")


class AddressPool(Generic[Address]):
    """The addresses of one subnet. Containers get the lowest that is free; `gateway` (the first, unless said
    otherwise) and the `reserved` ones are given to nobody. `within` is the part that addresses come from.
    """

    def __init__(
        self,
        subnet: ipaddress._BaseNetwork[Address],
        *,
        gateway: Address | None = None,
        within: ipaddress._BaseNetwork[Address] | None = None,
        reserved: Iterable[Address] = (),
    ) -> None:
        self.subnet: ipaddress._BaseNetwork[Address] = subnet
        self.gateway: Address = gateway or subnet[1]
        self._within: ipaddress._BaseNetwork[Address] = within or subnet
        self._first = int(subnet.network_address)
        self._next = max(int(self._within.network_address), self._first + 1) - self._first
        self._released: list[int] = []
        self._used: set[int] = set()
        self._never = {int(address) - self._first for address in reserved}
        self._never.add(int(self.gateway) - self._first)

    @property
    def taken(self) -> int:
        """How many addresses are in use."""
        return len(self._used)

    @property
    def lowest_free(self) -> Address:
        """What `take` gives next."""
        self._skip()
        return self.subnet[self._released[0] if self._released else self._next]

    def take(self) -> Address:
        """Raises System when there is none left."""
        self._skip()
        if self._released:
            offset = heapq.heappop(self._released)
        elif self._next < int(self._within.broadcast_address) - self._first + (self._within != self.subnet):
            offset = self._next
            self._next += 1
        else:
            raise System(
                f"no available IPv{self.subnet.version} addresses on this network's address pools:"
                f" {self.subnet}"
            )
        self._used.add(offset)
        return self.subnet[offset]

    def take_this(self, address: Address) -> None:
        """Raises Forbidden when somebody has it."""
        offset = int(address) - self._first
        if offset in self._used or offset in self._never:
            raise Forbidden("Address already in use")
        self._used.add(offset)

    def release(self, address: Address) -> None:
        offset = int(address) - self._first
        if offset in self._used:
            self._used.remove(offset)
            if offset < self._next and address in self._within:
                heapq.heappush(self._released, offset)

    def _skip(self) -> None:
        """Pass over what was taken by name."""
        while self._released and self._released[0] in self._used:
            heapq.heappop(self._released)
        while self._next in self._used or self._next in self._never:
            self._next += 1
