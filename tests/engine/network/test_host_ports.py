from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from labkernel.engine.errors import System
from labkernel.engine.network.host_ports import BoundPort, HostPorts, ephemeral_ports
from labkernel.engine.network.port_holders import holder_of
from labkernel.engine.network.ports import PortBinding
from tests.engine.network.places import Machine, wait_for


def places(bound: list[BoundPort]) -> list[tuple[str, int]]:
    return [(port.host_ip, port.host_port) for port in bound]


def one(port: int, host_ip: str = "", protocol: str = "tcp") -> PortBinding:
    return PortBinding(80, protocol, host_ip, range(port, port + 1))


def test_no_address_named_means_all_of_both_kinds(machine: Machine) -> None:
    ports = HostPorts()
    bound = ports.bind(
        [one(8080), one(8081, "127.0.0.1"), one(8082, "::1"), one(53, "0.0.0.0", "udp")], "web"
    )
    assert places(bound) == [
        ("0.0.0.0", 8080),
        ("::", 8080),
        ("127.0.0.1", 8081),
        ("::1", 8082),
        ("0.0.0.0", 53),
    ]
    for address in (("127.0.0.1", 8080), ("::1", 8080), ("127.0.0.1", 8081), ("::1", 8082)):
        socket.create_connection(address).close()
    ports.release(bound)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 8080))


def test_ephemeral_ports_go_on_from_the_last(machine: Machine) -> None:
    ports = HostPorts(range(40000, 40004))
    taken = socket.create_server(("0.0.0.0", 40001))
    tcp, udp = PortBinding(80, "tcp", "0.0.0.0"), PortBinding(80, "udp", "0.0.0.0")
    first = ports.bind([tcp, udp, tcp], "a")
    assert places(first) == [("0.0.0.0", 40000), ("0.0.0.0", 40000), ("0.0.0.0", 40002)]
    ports.release(first)
    assert places(ports.bind([tcp, tcp], "b")) == [("0.0.0.0", 40003), ("0.0.0.0", 40000)]
    ports.bind([tcp], "c")
    with pytest.raises(System, match="all ports are allocated") as caught:
        ports.bind([tcp], "d")
    assert "40000-40003" in str(caught.value.hint)
    taken.close()
    assert places(ports.bind([tcp], "d")) == [("0.0.0.0", 40001)]


def test_the_kernel_s_range_is_used() -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert ephemeral_ports() == range(first, last + 1)


def test_a_range_gives_its_first_free_port(machine: Machine) -> None:
    ports = HostPorts()
    wish = PortBinding(80, "tcp", "", range(8000, 8002))
    assert places(ports.bind([wish], "a"))[0] == ("0.0.0.0", 8000)
    assert places(ports.bind([wish], "b"))[0] == ("0.0.0.0", 8001)
    with pytest.raises(System, match="all ports are allocated"):
        ports.bind([wish], "c")


def test_a_port_of_another_container(machine: Machine) -> None:
    ports = HostPorts()
    ports.bind([one(8080)], "web")
    for host_ip, place in (("", "0.0.0.0:8080"), ("127.0.0.1", "127.0.0.1:8080"), ("::1", r"\[::1\]:8080")):
        with pytest.raises(System, match=rf"^Bind for {place} failed: port is already allocated$") as caught:
            ports.bind([one(8080, host_ip)], "b")
        assert "container web" in str(caught.value.hint)
    ports.bind([one(8080, protocol="udp")], "b")


def test_a_port_of_another_process(machine: Machine) -> None:
    with subprocess.Popen(["busybox", "nc", "-l", "-p", "8081"]) as holder:
        try:
            wait_for(lambda: holder_of(8081, "tcp").startswith("process"))
            with pytest.raises(System) as caught:
                HostPorts().bind([one(8081)], "a")
        finally:
            holder.kill()
    assert caught.value.message == (
        "Error starting userland proxy: listen tcp4 0.0.0.0:8081: bind: address already in use"
    )
    assert f"process busybox (pid {holder.pid})" in str(caught.value.hint)


def test_an_address_that_is_not_ours(machine: Machine) -> None:
    with pytest.raises(System, match=r"listen tcp4 192\.0\.2\.77:80: bind: cannot assign requested address"):
        HostPorts().bind([one(80, "192.0.2.77")], "a")


def test_all_or_none(machine: Machine) -> None:
    ports = HostPorts()
    ports.bind([one(8081)], "a")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(System):
        ports.bind([one(8080), one(8081)], "b")
    assert len(os.listdir("/proc/self/fd")) == before
    assert places(ports.bind([one(8080)], "c"))[0] == ("0.0.0.0", 8080)


def test_without_ipv6_the_ipv4_half_is_enough(machine: Machine) -> None:
    for interface in ("all", "lo"):
        Path(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6").write_text("1")
    with pytest.raises(System, match=r"listen tcp6 \[::1\]:8080"):
        HostPorts().bind([one(8080, "::1")], "a")
    assert ("0.0.0.0", 8080) in places(HostPorts().bind([one(8080)], "a"))
