from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.errors import InvalidParameter
from labkernel.engine.network.ports import PortBinding, parse_host_port, parse_port, requested_ports


@pytest.mark.parametrize(
    ("key", "port"),
    [("80/tcp", (80, "tcp")), ("80", (80, "tcp")), ("53/udp", (53, "udp")), ("53/UDP", (53, "udp"))],
)
def test_container_port(key: str, port: tuple[int, str]) -> None:
    assert parse_port(key) == port


@pytest.mark.parametrize("key", ["", "x/tcp", "80/xyz", "70000/tcp", "-1/tcp", "8 0/tcp", "٨٠/tcp"])
def test_what_is_no_container_port(key: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid port specification"):
        parse_port(key)


@pytest.mark.parametrize(
    ("text", "ports"),
    [("", range(0)), ("0", range(0)), ("8080", range(8080, 8081)), ("8000-8005", range(8000, 8006))],
)
def test_host_port(text: str, ports: range) -> None:
    assert parse_host_port(text) == ports


@pytest.mark.parametrize("text", ["x", "99999", "8-5", "80-", "-80", "80-90-100", " 80"])
def test_what_is_no_host_port(text: str) -> None:
    with pytest.raises(InvalidParameter):
        parse_host_port(text)


@given(st.text())
def test_host_port_is_a_range_or_an_error(text: str) -> None:
    try:
        ports = parse_host_port(text)
    except InvalidParameter:
        return
    assert all(0 < port <= 65535 for port in ports)


@pytest.mark.parametrize(
    ("host_config", "bindings"),
    [
        ({}, []),
        ({"PortBindings": None}, []),
        (
            {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}},
            [PortBinding(80, "tcp", "", range(8080, 8081))],
        ),
        (
            {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}], "53/udp": None}},
            [PortBinding(80, "tcp", "127.0.0.1"), PortBinding(53, "udp")],
        ),
        (
            {"PortBindings": {"80/tcp": [{"HostPort": "81"}, {"HostIp": "::1", "HostPort": "82"}]}},
            [PortBinding(80, "tcp", "", range(81, 82)), PortBinding(80, "tcp", "::1", range(82, 83))],
        ),
        (
            {"PublishAllPorts": True, "PortBindings": {"80/tcp": [{"HostPort": "8080"}]}},
            [PortBinding(80, "tcp", "", range(8080, 8081)), PortBinding(9, "udp"), PortBinding(443, "tcp")],
        ),
    ],
)
def test_what_a_host_config_asks_for(host_config: dict[str, Any], bindings: list[PortBinding]) -> None:
    assert requested_ports(host_config, ["80/tcp", "443/tcp", "9/udp"]) == bindings
