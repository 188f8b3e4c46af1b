from __future__ import annotations

from typing import Any

import pytest

from labkernel.commands import CommandError
from labkernel.notebook.ports_table import (
    PortsTable,
    Published,
    Unpublished,
    check_names,
    machine_of,
    published,
)


def container(name: str, *ports: dict[str, Any]) -> dict[str, Any]:
    found = {"Id": f"id of {name}", "Names": [f"/{name}"], "Image": "img", "Ports": list(ports)}
    return {**found, "State": "running"}


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


@pytest.mark.parametrize(
    ("docker_host", "machine"),
    [
        (None, None),
        ("unix:///run/docker.sock", None),
        ("tcp://localhost:2375", None),
        ("tcp://127.0.0.1:2375", None),
        ("tcp://[::1]:2375", None),
        ("tcp://box.example:2375", "box.example"),
        ("tcp://10.0.0.7:2376", "10.0.0.7"),
        ("ssh://learner@box", "box"),
        ("https://box:2376", "box"),
    ],
)
def test_the_engines_machine(docker_host: str | None, machine: str | None) -> None:
    assert machine_of(docker_host) == machine


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("0.0.0.0", "http://box:80"),
        ("::", "http://box:80"),
        ("10.0.0.1", "http://10.0.0.1:80"),
        ("127.0.0.1", None),
    ],
)
def test_links_to_another_machine(address: str, url: str | None) -> None:
    assert Published(address, 80, "tcp", "c", 80, "i", machine="box").url == url


def test_who_was_asked_for_and_publishes_nothing() -> None:
    table = PortsTable([], [Unpublished("web", "img", "exited")])
    assert table.text.splitlines()[1].split() == ["-", "web", "exited", "img"]
    check_names(table)
    with pytest.raises(CommandError, match="No such container: gone"):
        check_names(PortsTable([], [Unpublished("gone", "", "removed")]))


def test_text_and_links() -> None:
    table = PortsTable(published([container("web", port(8080, 80))]))
    assert table.text.splitlines()[1].split() == [
        "http://localhost:8080",
        "->",
        "web:80/tcp",
        "running",
        "img",
    ]
    assert 'href="http://localhost:8080"' in table._repr_html_()
    assert PortsTable([]).text == "no container publishes a port"


def test_what_containers_are_called_is_no_html() -> None:
    assert "<b>x</b>" not in PortsTable([Published("h", 1, "tcp", "<b>x</b>", 1, "<i>")])._repr_html_()
