from __future__ import annotations

from typing import Any

import pytest

from labkernel.notebook.ports_table import PortsTable, Published, published


def container(name: str, *ports: dict[str, Any]) -> dict[str, Any]:
    return {"Id": f"id of {name}", "Names": [f"/{name}"], "Image": "img", "Ports": list(ports)}


def port(host: int | None, inside: int, address: str = "0.0.0.0", protocol: str = "tcp") -> dict[str, Any]:
    found = {"PrivatePort": inside, "Type": protocol}
    return found if host is None else {**found, "PublicPort": host, "IP": address}


def test_published_ports_in_order_and_once() -> None:
    found = published(
        [
            container("b", port(8082, 8080), port(8082, 8080, "::")),
            container("a", port(8080, 8080, "::"), port(8080, 8080), port(None, 9)),
            container("dns", port(53, 53, protocol="udp")),
        ]
    )
    assert [(p.port, p.container, p.address) for p in found] == [
        (53, "dns", "0.0.0.0"),
        (8080, "a", "0.0.0.0"),
        (8082, "b", "0.0.0.0"),
    ]


@pytest.mark.parametrize(
    ("address", "protocol", "url"),
    [
        ("0.0.0.0", "tcp", "http://localhost:80"),
        ("::", "tcp", "http://localhost:80"),
        ("10.0.0.1", "tcp", "http://10.0.0.1:80"),
        ("fd00::1", "tcp", "http://[fd00::1]:80"),
        ("0.0.0.0", "udp", None),
    ],
)
def test_only_tcp_has_a_link(address: str, protocol: str, url: str | None) -> None:
    assert Published(address, 80, protocol, "c", 80, "i").url == url


def test_text_and_links() -> None:
    table = PortsTable(published([container("web", port(8080, 80))]))
    assert table.text.splitlines()[1].split() == ["http://localhost:8080", "->", "web:80/tcp", "img"]
    assert 'href="http://localhost:8080"' in table._repr_html_()
    assert PortsTable([]).text == "no container publishes a port"


def test_what_containers_are_called_is_no_html() -> None:
    assert "<b>x</b>" not in PortsTable([Published("h", 1, "tcp", "<b>x</b>", 1, "<i>")])._repr_html_()
