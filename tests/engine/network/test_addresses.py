from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.errors import System
from labkernel.engine.network.addresses import AddressPool, candidate_subnets, choose_subnet, mac_of


def test_first_subnet_is_docker_s() -> None:
    assert choose_subnet([IPv4Network("0.0.0.0/0"), IPv4Network("10.0.0.0/8")]) == IPv4Network(
        "172.17.0.0/16"
    )


@pytest.mark.parametrize(
    ("taken", "chosen"),
    [
        ("172.17.0.0/16", "172.18.0.0/16"),
        ("172.17.3.0/24", "172.18.0.0/16"),
        ("172.16.0.0/12", "192.168.0.0/20"),
    ],
)
def test_subnets_with_routes_are_left_alone(taken: str, chosen: str) -> None:
    assert choose_subnet([IPv4Network(taken)]) == IPv4Network(chosen)


def test_no_subnet_left() -> None:
    with pytest.raises(System, match="non-overlapping") as caught:
        choose_subnet(candidate_subnets())
    assert caught.value.hint


def test_mac_follows_from_the_address() -> None:
    assert mac_of(IPv4Address("172.17.0.2")) == "02:42:ac:11:00:02"


def test_lowest_free_address_comes_next() -> None:
    pool = AddressPool(IPv4Network("172.17.0.0/16"))
    first, second, third = pool.take(), pool.take(), pool.take()
    assert [str(first), str(second), str(third)] == ["172.17.0.2", "172.17.0.3", "172.17.0.4"]
    pool.release(third)
    pool.release(first)
    assert pool.lowest_free == first
    assert [pool.take(), pool.take()] == [first, third]


def test_a_full_subnet() -> None:
    pool = AddressPool(IPv4Network("192.0.2.0/29"))
    taken = [pool.take() for _ in range(5)]
    with pytest.raises(System, match="no available IPv4 addresses"):
        pool.take()
    pool.release(taken[2])
    assert pool.take() == taken[2]


def test_a_full_subnet_of_ipv6() -> None:
    pool = AddressPool(IPv6Network("2001:db8::/125"))
    assert [str(pool.take()) for _ in range(5)] == [f"2001:db8::{number}" for number in range(2, 7)]
    with pytest.raises(System, match="no available IPv6 addresses"):
        pool.take()


@given(st.lists(st.integers(min_value=0, max_value=30)))
def test_no_address_is_given_twice(releases: list[int]) -> None:
    """Releasing what was never taken, or twice, changes nothing."""
    pool = AddressPool(IPv4Network("10.1.0.0/24"))
    held: set[IPv4Address] = set()
    for number in releases:
        address = pool.take()
        assert address not in held
        assert address not in (pool.subnet[0], pool.subnet[1], pool.subnet[-1])
        held.add(address)
        pool.release(pool.subnet[number])
        held.discard(pool.subnet[number])
        assert pool.taken == len(held)
