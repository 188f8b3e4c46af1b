from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.commands import CommandError
from labkernel.commands.port_spec import expose_spec, publish_spec


def binding(address: str, port: str) -> dict[str, str]:
    return {"HostIp": address, "HostPort": port}


@pytest.mark.parametrize(
    ("spec", "bindings"),
    [
        ("80", {"80/tcp": [binding("", "")]}),
        ("8080:80", {"80/tcp": [binding("", "8080")]}),
        ("8080:80/UDP", {"80/udp": [binding("", "8080")]}),
        ("127.0.0.1:8080:80", {"80/tcp": [binding("127.0.0.1", "8080")]}),
        ("127.0.0.1::80", {"80/tcp": [binding("127.0.0.1", "")]}),
        ("[::1]:8080:80", {"80/tcp": [binding("::1", "8080")]}),
        ("8000-8001:80-81", {"80/tcp": [binding("", "8000")], "81/tcp": [binding("", "8001")]}),
        ("80-81", {"80/tcp": [binding("", "")], "81/tcp": [binding("", "")]}),
        ("8000-8010:80", {"80/tcp": [binding("", "8000-8010")]}),
    ],
)
def test_published_ports(spec: str, bindings: dict[str, list[dict[str, str]]]) -> None:
    assert publish_spec([spec]) == (bindings, list(bindings))


def test_one_port_published_twice() -> None:
    assert publish_spec(["1:80", "2:80"]) == ({"80/tcp": [binding("", "1"), binding("", "2")]}, ["80/tcp"])


@pytest.mark.parametrize(
    "spec", ["", "x", "x:80", "80:x", "1:2:3:4", "80/nope", "70000", "8-7", "1-3:1-2", "-1:80"]
)
def test_what_is_no_port(spec: str) -> None:
    with pytest.raises(CommandError, match="hint: "):
        publish_spec([spec])


def test_exposed_ports() -> None:
    assert expose_spec(["80", "53/udp", "7000-7002"]) == [
        "80/tcp",
        "53/udp",
        "7000/tcp",
        "7001/tcp",
        "7002/tcp",
    ]
    with pytest.raises(CommandError):
        expose_spec(["8080:80"])


@given(st.text(alphabet="0123456789:-/.[]tcpudx", max_size=20))
def test_any_text_is_a_port_or_the_one_error(spec: str) -> None:
    try:
        bindings, ports = publish_spec([spec])
    except CommandError:
        return
    assert list(bindings) == ports
