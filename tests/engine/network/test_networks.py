"""Containers' networks for real, on a machine of the test's own. A container here is its namespace alone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from labkernel.engine.database import Database
from labkernel.engine.errors import Conflict, InvalidParameter, NotFound, System
from labkernel.engine.network.definition import EndpointConfig
from labkernel.engine.network.networks import Networks
from labkernel.engine.network.ports import PortBinding, requested_ports
from tests.engine.network.places import (
    FAR_AWAY,
    HOST,
    WORLD,
    Machine,
    connect,
    fetch,
    ip,
    ruleset,
    says,
    tcp_server,
    within,
)


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Networks]:
    database = Database(directory / "engine.db")
    networks = await Networks.open(state_dir=directory, database=database, rootless=False)
    try:
        yield networks
    finally:
        await networks.close()
        database.close()


def on_networks(directory: Path, test: Callable[[Networks], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with opened(directory) as networks:
            await test(networks)

    asyncio.run(run())


async def aside(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    return await asyncio.to_thread(function, *args, **options)


def published(bindings: dict[str, Any], **more: Any) -> list[PortBinding]:
    return requested_ports({"PortBindings": bindings, **more})


def interfaces(netns: str) -> dict[str, str]:
    """Interface -> its IPv4 address."""
    shown = subprocess.check_output(["nsenter", f"--net={netns}", "ip", "-4", "-br", "address"], text=True)
    return {line.split()[0].split("@")[0]: line.split()[-1] for line in shown.splitlines()}


def test_two_containers_and_the_host_reach_each_other(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        one = await connect(networks, "1" * 64, "default", name="one")
        two = await connect(networks, "2" * 64, "bridge", name="two")
        assert (one.address, two.address) == ("172.17.0.2", "172.17.0.3")
        assert (one.gateway, one.prefix_length, one.mac) == ("172.17.0.1", 16, "02:42:ac:11:00:02")
        assert one.netns_path
        assert two.netns_path
        assert interfaces(one.netns_path) == {"lo": "127.0.0.1/8", "eth0": "172.17.0.2/16"}
        with tcp_server(one.netns_path, 80, says(b"one")), tcp_server(machine.host, 81, says(b"host")):
            assert await aside(fetch, "172.17.0.2", 80, netns=two.netns_path) == b"one"
            assert await aside(fetch, "172.17.0.2", 80) == b"one"
            assert await aside(fetch, "172.17.0.1", 81, netns=two.netns_path) == b"host"

    on_networks(tmp_path, test)


def test_an_address_is_free_again_after_disconnect(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        await connect(networks, "1" * 64, "bridge")
        second = await connect(networks, "2" * 64, "bridge")
        await networks.disconnect("1" * 64)
        await networks.disconnect("1" * 64)
        assert networks.sandbox("1" * 64) is None
        await asyncio.sleep(0.3)
        third = await connect(networks, "3" * 64, "bridge")
        assert (second.address, third.address) == ("172.17.0.3", "172.17.0.2")
        assert third.netns_path
        with tcp_server(third.netns_path, 80, says(b"third")):
            assert await aside(fetch, "172.17.0.2", 80, timeout=0.5) == b"third"

    on_networks(tmp_path, test)


def test_starting_and_ending_in_a_hurry(machine: Machine, tmp_path: Path) -> None:
    """Every container is reached at once, though its address's last holder is still being taken apart."""

    async def test(networks: Networks) -> None:
        for number in range(40):
            endpoint = await connect(networks, str(number), "bridge")
            assert endpoint.netns_path
            with tcp_server(endpoint.netns_path, 80, says(b"%d" % number)):
                assert await aside(fetch, endpoint.address, 80, timeout=0.5) == b"%d" % number
            await networks.disconnect(str(number))

    on_networks(tmp_path, test)


def test_many_at_once_get_different_addresses(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        endpoints = await asyncio.gather(*(connect(networks, str(number), "bridge") for number in range(50)))
        assert len({endpoint.address for endpoint in endpoints}) == 50
        assert len({endpoint.mac for endpoint in endpoints}) == 50

    on_networks(tmp_path, test)


def test_a_thousand_containers_and_the_bridge_s_end(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        for number in range(1022):
            last = await connect(networks, str(number), "bridge")
        assert last.netns_path
        with tcp_server(last.netns_path, 80, says(b"last")):
            assert await aside(fetch, last.address, 80) == b"last"
        with pytest.raises(System, match="exchange full") as caught:
            await connect(networks, "more", "bridge")
        assert "1022" in str(caught.value.hint)
        for number in range(1022):
            await networks.disconnect(str(number))
        assert (await connect(networks, "more", "bridge")).address

    on_networks(tmp_path, test)


def test_a_cancelled_request_costs_nothing(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        await connect(networks, "0", "bridge")
        for number in range(20):
            task = asyncio.create_task(
                connect(networks, f"x{number}", "bridge", ports=published({"80/tcp": None}))
            )
            await asyncio.sleep(number * 0.0002)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await networks.disconnect(f"x{number}")
        await asyncio.sleep(0.3)
        assert (await connect(networks, "1", "bridge")).address == "172.17.0.3"

    on_networks(tmp_path, test)
    assert ruleset() == ""


def test_mac_address_of_one_s_choice(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        endpoint = await connect(
            networks, "1", "bridge", wanted={"bridge": EndpointConfig(mac="02:00:00:00:00:07")}
        )
        assert endpoint.mac == "02:00:00:00:00:07"
        assert endpoint.netns_path
        shown = subprocess.check_output(["nsenter", f"--net={endpoint.netns_path}", "ip", "link"], text=True)
        assert "02:00:00:00:00:07" in shown
        with tcp_server(endpoint.netns_path, 80, says(b"x")):
            assert await aside(fetch, endpoint.address, 80, timeout=0.5) == b"x"

    on_networks(tmp_path, test)


def test_namespaces_kept_ready_answer_nobody(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        await connect(networks, "1", "bridge")
        await asyncio.sleep(0.3)
        with pytest.raises(OSError, match=r"No route to host|timed out"):
            await aside(fetch, "172.17.0.3", 80)
        endpoint = await connect(networks, "2", "bridge")
        assert endpoint.address == "172.17.0.3"
        assert endpoint.netns_path
        with tcp_server(endpoint.netns_path, 80, says(b"x")):
            assert await aside(fetch, "172.17.0.3", 80, timeout=0.9) == b"x"

    on_networks(tmp_path, test)


def test_none_has_a_loopback_and_nothing_else(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        endpoint = await connect(networks, "1", "none", ports=published({"80/tcp": None}), exposed=["80/tcp"])
        assert endpoint.netns_path
        assert interfaces(endpoint.netns_path) == {"lo": "127.0.0.1/8"}
        assert endpoint.address == ""
        assert endpoint.ports == {}

    on_networks(tmp_path, test)


def test_host_is_the_engine_s_own_namespace(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        endpoint = await connect(networks, "1", "host", ports=published({"80/tcp": [{"HostPort": "80"}]}))
        assert endpoint.netns_path is None
        assert endpoint.resolv_conf == Path("/etc/resolv.conf").read_text()
        assert endpoint.ports == {}
        with pytest.raises(ConnectionRefusedError):
            fetch("127.0.0.1", 80)

    on_networks(tmp_path, test)


def test_the_network_of_another_container(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        one = await connect(networks, "1" * 64, "bridge")
        two = await connect(networks, "2" * 64, f"container:{'1' * 64}")
        assert two.netns_path == one.netns_path
        assert two.resolv_conf == one.resolv_conf
        assert networks.network_settings("2" * 64, {})["Networks"] == {}
        await networks.disconnect("2" * 64)
        assert one.netns_path
        assert "eth0" in interfaces(one.netns_path)
        with pytest.raises(Conflict, match="cannot join network of a non running container"):
            await connect(networks, "3" * 64, "container:nope")

    on_networks(tmp_path, test)


def test_unknown_networks(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        with pytest.raises(NotFound, match="network lab not found") as caught:
            await connect(networks, "1", "lab")
        assert "bridge" in str(caught.value.hint)
        for name in ("lab", ""):
            with pytest.raises(NotFound):
                networks.inspect(name)
        await connect(networks, "1", "bridge", name="one")
        with pytest.raises(Conflict):
            await connect(networks, "1", "bridge", name="one")

    on_networks(tmp_path, test)


def test_networks_are_found_by_name_id_and_prefix(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        bridge = networks.inspect("bridge")
        assert networks.inspect(bridge["Id"]) == bridge
        assert networks.inspect(bridge["Id"][:12]) == bridge
        firsts = [each["Id"][0] for each in networks.list()]
        for first in firsts:
            if firsts.count(first) > 1:
                with pytest.raises(InvalidParameter, match="ambiguous"):
                    networks.inspect(first)
        identities.append([each["Id"] for each in networks.list()])

    identities: list[list[str]] = []
    on_networks(tmp_path, test)
    on_networks(tmp_path, test)
    assert identities[0] == identities[1], "ids are kept in the database"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", HOST, "172.17.0.1"])
def test_a_published_port_is_reached_on_the_machine(machine: Machine, tmp_path: Path, address: str) -> None:
    async def test(networks: Networks) -> None:
        endpoint = await connect(
            networks,
            "1",
            "bridge",
            ports=published({"80/tcp": [{"HostPort": "8080"}]}),
            exposed=["80/tcp", "81/tcp"],
        )
        both = [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}]
        assert endpoint.ports == {"80/tcp": both, "81/tcp": None}
        assert endpoint.netns_path
        with tcp_server(endpoint.netns_path, 80, says(b"web")):
            assert await aside(fetch, address, 8080) == b"web"
        await networks.disconnect("1")
        with pytest.raises(ConnectionRefusedError):
            await aside(fetch, address, 8080)

    on_networks(tmp_path, test)


def test_a_published_port_is_reached_from_containers(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        web = await connect(networks, "1", "bridge", ports=published({"80/tcp": [{"HostPort": "8080"}]}))
        other = await connect(networks, "2", "bridge")
        assert web.netns_path
        with tcp_server(web.netns_path, 80, says(b"web")):
            for netns in (web.netns_path, other.netns_path):
                for address in ("172.17.0.1", HOST):
                    assert await aside(fetch, address, 8080, netns=netns) == b"web"

    on_networks(tmp_path, test)


def test_from_the_world_a_port_is_reached_with_the_client_s_own_address(
    machine: Machine, tmp_path: Path
) -> None:
    async def test(networks: Networks) -> None:
        web = await connect(
            networks,
            "1",
            "bridge",
            ports=published({"80/tcp": [{"HostPort": "8080"}, {"HostIp": HOST, "HostPort": "81"}]}),
        )
        assert web.netns_path
        with tcp_server(web.netns_path, 80, says(b"web")) as clients:
            for port in (8080, 81):
                assert await aside(fetch, HOST, port, netns=machine.world) == b"web"
            assert clients == [WORLD, WORLD]

    on_networks(tmp_path, test)


def test_a_port_on_the_loopback_is_not_reached_from_the_world(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        bindings = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}
        web = await connect(networks, "1", "bridge", ports=published(bindings))
        assert web.netns_path
        with tcp_server(web.netns_path, 80, says(b"web")):
            assert await aside(fetch, "127.0.0.1", 8080) == b"web"
            with pytest.raises(ConnectionRefusedError):
                await aside(fetch, HOST, 8080, netns=machine.world)

    on_networks(tmp_path, test)


def test_the_world_reaches_nothing_that_is_not_published(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        web = await connect(networks, "1", "bridge")
        assert web.netns_path
        within(machine.world, lambda: ip(f"route add 172.17.0.0/16 via {HOST}"))
        with tcp_server(web.netns_path, 80, says(b"web")), pytest.raises(TimeoutError):
            await aside(fetch, web.address, 80, netns=machine.world, timeout=0.5)

    on_networks(tmp_path, test)


def test_udp_is_published(machine: Machine, tmp_path: Path) -> None:
    def ask(address: str) -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.sendto(b"ping", (address, 5353))
            return client.recv(100)

    async def test(networks: Networks) -> None:
        endpoint = await connect(networks, "1", "bridge", ports=published({"53/udp": [{"HostPort": "5353"}]}))
        assert endpoint.netns_path
        server = within(endpoint.netns_path, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        server.bind(("", 53))
        for address, netns in (("127.0.0.1", machine.host), (HOST, machine.world)):
            asking = asyncio.create_task(aside(within, netns, partial(ask, address)))
            data, client = await aside(server.recvfrom, 100)
            server.sendto(data + b"-pong", client)
            assert await asking == b"ping-pong"
        server.close()

    on_networks(tmp_path, test)


def test_what_leaves_has_the_host_s_address(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        endpoint = await connect(networks, "1", "bridge")
        with tcp_server(machine.world, 80, says(b"world")) as clients:
            assert await aside(fetch, FAR_AWAY, 80, netns=endpoint.netns_path) == b"world"
            assert clients == [HOST]

    on_networks(tmp_path, test)


def test_packets_fit_the_host_s_way_out(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        endpoint = await connect(networks, "1", "bridge")
        shown = subprocess.check_output(["nsenter", f"--net={endpoint.netns_path}", "ip", "link"], text=True)
        assert re.search(r"eth0.* mtu 1400 ", shown)

    on_networks(tmp_path, test)


def test_a_port_that_is_taken_says_by_whom_and_leaves_nothing(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        wish = published({"80/tcp": [{"HostPort": "8080"}]})
        await connect(networks, "1", "bridge", name="web", ports=wish)
        descriptors = len(os.listdir("/proc/self/fd"))
        words = (
            r"^driver failed programming external connectivity on endpoint other \([0-9a-f]{64}\): "
            r"Bind for 0\.0\.0\.0:8080 failed: port is already allocated$"
        )
        with pytest.raises(System, match=words) as caught:
            await connect(networks, "2", "bridge", name="other", ports=wish)
        assert "container web" in str(caught.value.hint)
        assert networks.sandbox("2") is None
        assert networks.inspect("bridge")["Containers"].keys() == {"1"}
        assert abs(len(os.listdir("/proc/self/fd")) - descriptors) <= 20
        await networks.disconnect("1")
        assert (await connect(networks, "2", "bridge", name="other", ports=wish)).ports

    on_networks(tmp_path, test)


def test_a_subnet_that_the_host_uses_is_left_to_it(machine: Machine, tmp_path: Path) -> None:
    """Also one that the host came to use after the engine started."""

    async def test(networks: Networks) -> None:
        assert networks.inspect("bridge")["IPAM"]["Config"][0]["Subnet"] == "172.18.0.0/16"
        ip(f"route add 172.18.5.0/24 via {WORLD}")
        assert (await connect(networks, "1", "bridge")).address == "172.19.0.2"
        assert networks.inspect("bridge")["IPAM"]["Config"][0]["Subnet"] == "172.19.0.0/16"

    ip(f"route add 172.17.0.0/16 via {WORLD}")
    on_networks(tmp_path, test)


def test_two_engines_side_by_side(machine: Machine, tmp_path: Path) -> None:
    async def run() -> None:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
        async with opened(tmp_path / "a") as a, opened(tmp_path / "b") as b:
            one, two = await connect(a, "1", "bridge"), await connect(b, "1", "bridge")
            assert (one.address, two.address) == ("172.17.0.2", "172.18.0.2")
            assert one.netns_path
            with tcp_server(one.netns_path, 80, says(b"a")):
                assert await aside(fetch, one.address, 80) == b"a"

    asyncio.run(run())


def test_closing_leaves_the_machine_as_it_was(machine: Machine, tmp_path: Path) -> None:
    before = machine.interfaces()
    descriptors = len(os.listdir("/proc/self/fd"))

    async def test(networks: Networks) -> None:
        await connect(networks, "1", "bridge", ports=published({"80/tcp": [{"HostPort": "8080"}]}))
        await connect(networks, "2", "none")
        assert len(machine.interfaces()) == len(before) + 1
        assert "labkernel" in ruleset()

    on_networks(tmp_path, test)
    assert machine.interfaces() == before
    assert ruleset() == ""
    assert len(os.listdir("/proc/self/fd")) == descriptors
    socket.create_server(("127.0.0.1", 8080)).close()


def test_opening_alone_changes_nothing(machine: Machine, tmp_path: Path) -> None:
    before = machine.interfaces()

    async def test(networks: Networks) -> None:
        assert machine.interfaces() == before
        assert networks.limits() == []

    on_networks(tmp_path, test)
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "0\n"


def test_settings_of_a_running_container(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        endpoint = await connect(networks, "1" * 64, "default", name="web")
        settings = networks.network_settings("1" * 64, {"bridge": EndpointConfig()})
        assert settings["IPAddress"] == settings["Networks"]["bridge"]["IPAddress"] == "172.17.0.2"
        assert settings["EndpointID"] == endpoint.endpoint_id
        assert networks.inspect("bridge")["Containers"] == {
            "1" * 64: {
                "Name": "web",
                "EndpointID": endpoint.endpoint_id,
                "MacAddress": "02:42:ac:11:00:02",
                "IPv4Address": "172.17.0.2/16",
                "IPv6Address": "",
            }
        }
        await networks.disconnect("1" * 64)
        settings = networks.network_settings("1" * 64, {"bridge": EndpointConfig()})
        assert settings["IPAddress"] == ""
        assert settings["Networks"]["bridge"]["NetworkID"] == networks.inspect("bridge")["Id"]
        assert networks.inspect("bridge")["Containers"] == {}

    on_networks(tmp_path, test)
