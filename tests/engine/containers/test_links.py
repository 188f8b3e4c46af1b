from __future__ import annotations

import pytest

from labkernel.engine.containers.links import link_environment, parse_link, with_address
from labkernel.engine.errors import InvalidParameter


@pytest.mark.parametrize(
    ("text", "link"),
    [("db", ("db", "db")), ("db:d", ("db", "d")), ("/db:/web/d", ("db", "d")), ("/db:d", ("db", "d"))],
)
def test_links_are_read(text: str, link: tuple[str, str]) -> None:
    assert parse_link(text) == link


@pytest.mark.parametrize("text", ["", "a:b:c"])
def test_links_that_are_none(text: str) -> None:
    with pytest.raises(InvalidParameter):
        parse_link(text)


def test_the_variables_of_a_port() -> None:
    assert link_environment("web", "my-db", "1.2.3.4", ["A=1", "PATH=/x"], ["80/tcp"]) == [
        "MY_DB_PORT=tcp://1.2.3.4:80",
        "MY_DB_PORT_80_TCP=tcp://1.2.3.4:80",
        "MY_DB_PORT_80_TCP_ADDR=1.2.3.4",
        "MY_DB_PORT_80_TCP_PORT=80",
        "MY_DB_PORT_80_TCP_PROTO=tcp",
        "MY_DB_NAME=/web/my-db",
        "MY_DB_ENV_A=1",
    ]


@pytest.mark.parametrize(
    ("ports", "ranges"),
    [
        (["1/tcp", "2/tcp"], []),
        (["1/tcp", "2/tcp", "3/tcp"], ["1-3"]),
        (["1/tcp", "3/tcp", "4/tcp", "5/tcp", "6/tcp", "9/udp"], ["3-6"]),
        (["1/tcp", "2/tcp", "3/tcp", "7/tcp", "8/tcp", "9/tcp"], ["1-3", "7-9"]),
    ],
)
def test_runs_of_ports(ports: list[str], ranges: list[str]) -> None:
    lines = dict(line.split("=", 1) for line in link_environment("w", "d", "1.2.3.4", [], reversed(ports)))
    starts = [value for name, value in lines.items() if name.endswith("_PORT_START")]
    ends = [value for name, value in lines.items() if name.endswith("_PORT_END")]
    assert [f"{start}-{end}" for start, end in zip(starts, ends, strict=True)] == ranges


def test_only_the_linked_name_gets_another_address() -> None:
    hosts = "1.1.1.1\tdb-two db\n1.1.1.2\tdb host name\n1.1.1.3\tdb2\n"
    assert with_address(hosts, "db", "2.2.2.2") == "1.1.1.1\tdb-two db\n2.2.2.2\tdb host name\n1.1.1.3\tdb2\n"
