from __future__ import annotations

import json
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.errors import EngineError, Forbidden, InvalidParameter, NotFound, NotOffered
from labkernel.engine.network.definition import Definition, EndpointConfig

TAKEN = [
    IPv4Network("0.0.0.0/0"),
    IPv4Network("172.17.0.0/16"),
    IPv4Network("10.0.0.0/24"),
    IPv6Network("fd00:1::/64"),
]


def pool(**config: Any) -> dict[str, Any]:
    return {"Name": "lesson", "IPAM": {"Config": [config]}}


def pool6(*pools: dict[str, Any]) -> dict[str, Any]:
    return {"Name": "lesson", "EnableIPv6": True, "IPAM": {"Config": list(pools)}}


def test_what_is_not_said_is_chosen() -> None:
    made = Definition.requested({"Name": "lesson"}, TAKEN)
    assert (made.subnet, made.gateway, made.own_subnet) == ("172.18.0.0/16", "172.18.0.1", False)
    assert str(made.addresses().take()) == "172.18.0.2"


def test_a_part_of_the_subnet() -> None:
    asked = pool(
        Subnet="10.1.0.0/16",
        IPRange="10.1.9.0/24",
        Gateway="10.1.0.7",
        AuxiliaryAddresses={"printer": "10.1.9.1"},
    )
    made = Definition.requested(asked, TAKEN)
    addresses = made.addresses()
    assert str(addresses.gateway) == "10.1.0.7"
    assert [str(addresses.take()) for _ in range(3)] == ["10.1.9.0", "10.1.9.2", "10.1.9.3"]
    assert made.ipam() == asked["IPAM"]["Config"]
    assert Definition(**json.loads(json.dumps(made.stored()))) == made


def test_the_gateway_is_the_first_of_the_range() -> None:
    made = Definition.requested(pool(Subnet="10.1.0.0/16", IPRange="10.1.9.128/25"), TAKEN)
    assert made.gateway == "10.1.9.128"


def test_ipv6_beside_ipv4() -> None:
    six = {
        "Subnet": "fd00:2::/64",
        "IPRange": "fd00:2::1:0/112",
        "Gateway": "fd00:2::7",
        "AuxiliaryAddresses": {"printer": "fd00:2::1:1"},
    }
    made = Definition.requested(pool6(six, {"Subnet": "10.1.0.0/24"}), TAKEN)
    assert made.ipam() == [{"Subnet": "10.1.0.0/24", "Gateway": "10.1.0.1"}, six]
    addresses = made.addresses6()
    assert addresses
    assert str(addresses.gateway) == "fd00:2::7"
    assert [str(addresses.take()) for _ in range(2)] == ["fd00:2::1:0", "fd00:2::1:2"]
    assert Definition(**json.loads(json.dumps(made.stored()))) == made


def test_of_ipv6_too_the_lowest_addresses_come_first() -> None:
    made = Definition.requested(pool6({"Subnet": "fd00:2::/64"}), TAKEN)
    assert (made.subnet, made.own_subnet, made.gateway6) == ("172.18.0.0/16", False, "fd00:2::1")
    addresses = made.addresses6()
    assert addresses
    assert str(addresses.take()) == "fd00:2::2"


def test_without_enable_ipv6_a_subnet_of_it_is_only_kept() -> None:
    """As Docker keeps it: it stands in the way of nobody, and gives no addresses."""
    made = Definition.requested(pool(Subnet="fd00:1::/64"), TAKEN)
    assert made.addresses6() is None
    assert [each["Subnet"] for each in made.ipam()] == ["172.18.0.0/16", "fd00:1::/64"]


@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
def test_what_there_is_instead_of_a_driver_is_told(driver: str) -> None:
    with pytest.raises(NotFound) as caught:
        Definition.requested({"Name": "x", "Driver": driver}, TAKEN)
    assert "publish ports" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ({}, InvalidParameter, "invalid name"),
        ({"Name": "  "}, InvalidParameter, "invalid name"),
        ({"Name": "host"}, Forbidden, "predefined host network"),
        ({"Name": "x", "Driver": "overlay"}, NotFound, 'plugin "overlay" not found'),
        ({"Name": "x", "Driver": "macvlan"}, NotFound, 'plugin "macvlan" not found'),
        ({"Name": "x", "Driver": "ipvlan"}, NotFound, 'plugin "ipvlan" not found'),
        ({"Name": "x", "EnableIPv6": True}, NotFound, "non-overlapping IPv6 address pool"),
        (pool6({"Subnet": "10.1.0.0/24"}), NotFound, "non-overlapping IPv6 address pool"),
        (pool6({"Subnet": "fd00:2::/64"}, {"Subnet": "fd00:3::/64"}), Forbidden, "multiple subnets"),
        (pool6({"Subnet": "fd00:1:0:0:8::/80"}), Forbidden, "Pool overlaps"),
        (pool6({"Subnet": "fd00:2::/127"}), InvalidParameter, "no room.*"),
        (
            pool6({"Subnet": "fd00:2::/64", "Gateway": "fd00:3::1"}),
            InvalidParameter,
            r"gateway \(fd00:3::1\): Requested",
        ),
        (
            pool6({"Subnet": "fd00:2::/64", "Gateway": "10.1.0.1"}),
            InvalidParameter,
            r"gateway \(10.1.0.1\): Requested",
        ),
        (pool6({"Subnet": "fd00:2::/64", "IPRange": "fd00:3::/80"}), InvalidParameter, "not within"),
        (pool6({"Subnet": "fd00:2::/64", "IPRange": "10.1.0.0/24"}), InvalidParameter, "not within"),
        ({"Name": "x", "Driver": "null"}, Forbidden, "only one instance"),
        ({"Name": "x", "Ingress": True}, NotOffered, "swarm"),
        ({"Name": "x", "IPAM": {"Driver": "far"}}, NotFound, "ipam driver far"),
        ({"Name": "x", "IPAM": {"Config": [{}, {}]}}, Forbidden, "multiple subnets"),
        (pool(Gateway="10.1.0.1"), InvalidParameter, "needs a Subnet"),
        (pool(Subnet="10.1.0.0"), InvalidParameter, "Invalid subnet"),
        (pool(Subnet="fd00::g/64"), InvalidParameter, "Invalid subnet"),
        (pool(Subnet="10.1.0.0/31"), InvalidParameter, "no room"),
        (pool(Subnet="10.0.0.128/25"), Forbidden, "Pool overlaps"),
        (pool(Subnet="10.1.0.0/24", IPRange="10.2.0.0/25"), InvalidParameter, "not within"),
        (
            pool(Subnet="10.1.0.0/24", Gateway="10.2.0.1"),
            InvalidParameter,
            r"gateway \(10.2.0.1\): Requested",
        ),
        (pool(Subnet="10.1.0.0/24", Gateway="first"), InvalidParameter, "invalid address"),
        (
            pool(Subnet="10.1.0.0/24", AuxiliaryAddresses={"a": "10.3.0.1"}),
            InvalidParameter,
            r"address \(a:10.3.0.1\): Requested",
        ),
        (
            {"Name": "x", "Options": {"com.docker.network.bridge.name": "a-name-too-long"}},
            None,
            "",
        ),
        (
            {"Name": "x", "Options": {"com.docker.network.bridge.name": "a-name-too-long!"}},
            InvalidParameter,
            "bridge.name",
        ),
        ({"Name": "x", "Options": {"com.docker.network.driver.mtu": "12"}}, InvalidParameter, "mtu"),
        (
            {"Name": "x", "Options": {"com.docker.network.bridge.host_binding_ipv4": "all"}},
            InvalidParameter,
            "host_binding_ipv4",
        ),
        (
            {"Name": "x", "Options": {"com.docker.network.bridge.host_binding_ipv4": "::"}},
            InvalidParameter,
            "host_binding_ipv4",
        ),
    ],
)
def test_what_cannot_be(body: dict[str, Any], kind: type[EngineError] | None, words: str) -> None:
    if kind is None:
        assert Definition.requested(body, TAKEN)
        return
    with pytest.raises(kind, match=words):
        Definition.requested(body, TAKEN)


@given(
    subnet=st.ip_addresses(network="10.0.0.0/8"),
    length=st.integers(8, 32),
    gateway=st.none() | st.ip_addresses(network="10.0.0.0/8"),
)
def test_addresses_are_inside_and_nobody_else_s(subnet: Any, length: int, gateway: Any) -> None:
    try:
        made = Definition.requested(
            pool(Subnet=f"{subnet}/{length}", **({"Gateway": str(gateway)} if gateway else {})), []
        )
    except InvalidParameter:
        return
    network = IPv4Network(made.subnet)
    found = {made.addresses().take()}
    assert found.isdisjoint({network[0], network[-1], made.addresses().gateway})
    assert all(address in network for address in found)


def test_an_endpoint_s_settings_come_back_as_they_were() -> None:
    settings = {
        "IPAMConfig": {"IPv4Address": "10.1.0.9", "IPv6Address": "fd00:2::9"},
        "Links": ["db:database"],
        "Aliases": ["web"],
        "MacAddress": "02:00:00:00:00:01",
        "DriverOpts": {"a": "b"},
    }
    made = EndpointConfig.requested(settings)
    assert made.stored() == settings
    assert EndpointConfig.requested(made.stored()) == made
    assert EndpointConfig.requested(None) == EndpointConfig()
    with pytest.raises(InvalidParameter, match="invalid IPv4 address: lots"):
        EndpointConfig.requested({"IPAMConfig": {"IPv4Address": "lots"}})
    for address in ("lots", "10.1.0.9"):
        with pytest.raises(InvalidParameter, match=f"invalid IPv6 address: {address}"):
            EndpointConfig.requested({"IPAMConfig": {"IPv6Address": address}})
