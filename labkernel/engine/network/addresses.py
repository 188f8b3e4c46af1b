"""Subnets and the addresses in them. Pure."""

from __future__ import annotations

import heapq
import ipaddress
from collections.abc import Iterable, Iterator

from labkernel.engine.errors import System


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


class AddressPool:
    """The addresses of one subnet: .1 is the gateway, containers get the lowest that is free from .2 on."""

    def __init__(self, subnet: ipaddress.IPv4Network) -> None:
        self.subnet = subnet
        self.gateway = subnet[1]
        self._next = 2
        self._released: list[int] = []
        self._used: set[int] = set()

    @property
    def taken(self) -> int:
        """How many addresses are in use."""
        return len(self._used)

    @property
    def lowest_free(self) -> ipaddress.IPv4Address:
        """What `take` gives next."""
        return self.subnet[self._released[0] if self._released else self._next]

    def take(self) -> ipaddress.IPv4Address:
        if self._released:
            offset = heapq.heappop(self._released)
        elif self._next < self.subnet.num_addresses - 1:
            offset = self._next
            self._next += 1
        else:
            raise System(f"no available IPv4 addresses on this network's address pools: {self.subnet}")
        self._used.add(offset)
        return self.subnet[offset]

    def release(self, address: ipaddress.IPv4Address) -> None:
        offset = int(address) - int(self.subnet.network_address)
        if offset in self._used:
            self._used.remove(offset)
            heapq.heappush(self._released, offset)
