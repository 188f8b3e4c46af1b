"""Networks of one's own for real, on a machine of the test's own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from labkernel.engine.errors import Conflict, Forbidden, InvalidParameter, NotFound
from labkernel.engine.network.definition import EndpointConfig
from labkernel.engine.network.networks import Networks
from labkernel.engine.network.sandbox import Sandbox
from tests.engine.network.places import (
    FAR_AWAY,
    HOST,
    Machine,
    fetch,
    ip,
    ruleset,
    says,
    tcp_server,
    within,
)
from tests.engine.network.test_networks import aside, interfaces, on_networks, published


def pool(subnet: str) -> dict[str, Any]:
    return {"IPAM": {"Config": [{"Subnet": subnet}]}}


def path(sandbox: Sandbox) -> str:
    assert sandbox.netns_path
    return sandbox.netns_path


def test_networks_do_not_reach_each_other(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        for name in ("a", "b"):
            await networks.create({"Name": name})
        one = await networks.connect("1", "a", name="one")
        two = await networks.connect("2", "a", name="two")
        other = await networks.connect("3", "b", name="other")
        default = await networks.connect("4", "bridge", name="default")
        assert one.addresses == ["172.18.0.2"]
        with tcp_server(path(one), 80, says(b"one")):
            assert await aside(fetch, "172.18.0.2", 80, netns=path(two)) == b"one"
            assert await aside(fetch, "172.18.0.2", 80) == b"one", "from the machine"
            for stranger in (other, default):
                with pytest.raises(TimeoutError):
                    await aside(fetch, "172.18.0.2", 80, netns=path(stranger), timeout=0.5)
        with tcp_server(machine.world, 80, says(b"world"), address=FAR_AWAY):
            assert await aside(fetch, FAR_AWAY, 80, netns=path(other)) == b"world"

    on_networks(tmp_path, test)


def test_an_internal_network_leads_nowhere(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        await networks.create({"Name": "inner", "Internal": True, **pool("10.5.0.0/24")})
        one = await networks.connect("1", "inner", ports=published({"80/tcp": [{"HostPort": "8080"}]}))
        two = await networks.connect("2", "inner")
        assert one.ports == {}
        within(two_ns := path(two), lambda: ip("route add default via 10.5.0.1"))
        within(machine.world, lambda: ip(f"route add 10.5.0.0/24 via {HOST}"))
        with tcp_server(path(one), 80, says(b"one")), tcp_server(machine.world, 80, says(b"world")):
            assert await aside(fetch, "10.5.0.2", 80, netns=two_ns) == b"one"
            with pytest.raises(TimeoutError):
                await aside(fetch, FAR_AWAY, 80, netns=two_ns, timeout=0.5)
            with pytest.raises(TimeoutError):
                await aside(fetch, "10.5.0.2", 80, netns=machine.world, timeout=0.5)

    on_networks(tmp_path, test)


def test_without_icc_containers_reach_the_world_but_not_each_other(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        options = {"com.docker.network.bridge.enable_icc": "false"}
        await networks.create({"Name": "apart", "Options": options, **pool("10.5.0.0/24")})
        one, two = await networks.connect("1", "apart"), await networks.connect("2", "apart")
        with tcp_server(path(one), 80, says(b"one")), tcp_server(machine.world, 80, says(b"world")):
            assert await aside(fetch, FAR_AWAY, 80, netns=path(two)) == b"world"
            with pytest.raises(TimeoutError):
                await aside(fetch, "10.5.0.2", 80, netns=path(two), timeout=0.5)

    on_networks(tmp_path, test)


def test_addresses_of_one_s_choice(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        await networks.create({"Name": "mine", **pool("10.5.0.0/24")})
        await networks.create({"Name": "given"})
        at = {"mine": EndpointConfig(address="10.5.0.3", mac="02:00:00:00:00:99")}
        one = await networks.connect("1", "mine", wanted=at)
        assert interfaces(path(one)) == {"lo": "127.0.0.1/8", "eth0": "10.5.0.3/24"}
        assert one.endpoints["mine"].mac == "02:00:00:00:00:99"
        with pytest.raises(Forbidden, match="Address already in use"):
            await networks.connect("2", "mine", wanted=at)
        others = [await networks.connect(str(number), "mine") for number in (3, 4)]
        assert [other.addresses for other in others] == [["10.5.0.2"], ["10.5.0.4"]]
        with pytest.raises(InvalidParameter, match="user configured subnets"):
            await networks.connect("5", "given", wanted={"given": EndpointConfig(address="172.18.0.9")})
        with pytest.raises(InvalidParameter, match="does not belong"):
            await networks.connect("5", "mine", wanted={"mine": EndpointConfig(address="10.6.0.1")})
        await networks.disconnect("1")
        assert (await networks.connect("6", "mine", wanted=at)).addresses == ["10.5.0.3"]

    on_networks(tmp_path, test)


def test_the_way_out_follows(machine: Machine, tmp_path: Path) -> None:
    """With each network that comes and goes there is one default route, and ports are published by it."""

    async def test(networks: Networks) -> None:
        for name, subnet in (("a", "10.5.0.0/24"), ("b", "10.6.0.0/24"), ("c", "10.7.0.0/24")):
            await networks.create({"Name": name, "Internal": name == "a", **pool(subnet)})
        web = await networks.connect("1", "c", ports=published({"80/tcp": [{"HostPort": "8080"}]}))
        with tcp_server(path(web), 80, says(b"web")), tcp_server(machine.world, 80, says(b"world")):

            async def reaches() -> tuple[str, bytes, bytes]:
                return (
                    web.gateway,
                    await aside(fetch, HOST, 8080, netns=machine.world),
                    await aside(fetch, FAR_AWAY, 80, netns=path(web)),
                )

            assert await reaches() == ("10.7.0.1", b"web", b"world")
            for name in ("a", "b"):
                await web.join(networks.find(name), EndpointConfig())
            assert await reaches() == ("10.6.0.1", b"web", b"world")
            assert list(interfaces(path(web))) == ["lo", "eth0", "eth1", "eth2"]
            await web.leave(networks.find("c"))
            await web.leave(networks.find("b"))
            assert (web.gateway, web.ports) == ("", {})
            with pytest.raises(ConnectionRefusedError):
                await aside(fetch, HOST, 8080, netns=machine.world)
            await web.join(networks.find("b"), EndpointConfig())
            assert await reaches() == ("10.6.0.1", b"web", b"world")

    on_networks(tmp_path, test)


def test_a_join_that_fails_gives_its_ports_back(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        await networks.create({"Name": "mine", **pool("10.5.0.0/24")})
        web = await networks.connect("1", "mine", ports=published({"80/tcp": [{"HostPort": "8080"}]}))
        await web.leave(networks.find("mine"))
        with pytest.raises(Forbidden, match="Address already in use"):
            await web.join(networks.find("mine"), EndpointConfig(address="10.5.0.1"))
        await web.join(networks.find("mine"), EndpointConfig())
        assert web.ports["80/tcp"]

    on_networks(tmp_path, test)


def test_a_new_name_is_the_name_on_networks_to_come(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        for name in ("a", "b"):
            await networks.create({"Name": name})
        web = await networks.connect("1", "a", name="old")
        near = await networks.connect("2", "b")
        networks.rename("1", "new")
        await web.join(networks.find("b"), EndpointConfig())
        assert near.addresses_of("new")
        assert near.addresses_of("old") is None

    on_networks(tmp_path, test)


def test_what_is_made_stays_and_what_is_removed_goes(machine: Machine, tmp_path: Path) -> None:
    before = machine.interfaces()
    found: list[dict[str, Any]] = []

    async def make(networks: Networks) -> None:
        await networks.create({"Name": "lesson", "Labels": {"a": "b"}, **pool("10.5.0.0/24")})
        with pytest.raises(Conflict, match="network with name lesson already exists"):
            await networks.create({"Name": "lesson"})
        found.append(networks.inspect("lesson"))
        await networks.connect("1", "lesson", name="one")
        with pytest.raises(Forbidden, match="has active endpoints") as caught:
            await networks.remove("lesson")
        assert "one" in str(caught.value.hint)
        assert len(machine.interfaces()) == len(before) + 1

    async def remove(networks: Networks) -> None:
        assert networks.inspect("lesson") == found[0]
        await networks.connect("1", "lesson")
        await networks.disconnect("1")
        await networks.remove("lesson")
        assert machine.interfaces() == before
        assert "10.5.0.0" not in ruleset()
        with pytest.raises(NotFound):
            networks.inspect("lesson")
        await networks.create({"Name": "other", **pool("10.5.0.0/24")})
        await networks.remove("other")

    on_networks(tmp_path, make)
    assert machine.interfaces() == before
    on_networks(tmp_path, remove)
    on_networks(tmp_path, lambda networks: asyncio.sleep(0))
    assert ruleset() == ""


def test_a_route_that_came_later_is_told(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        await networks.create({"Name": "lesson", **pool("10.5.0.0/24")})
        ip("route add 10.5.0.0/16 dev wire")
        with pytest.raises(Exception, match=r"a route to 10\.5\.0\.0/16"):
            await networks.connect("1", "lesson")
        ip("route del 10.5.0.0/16 dev wire")
        assert (await networks.connect("1", "lesson")).addresses == ["10.5.0.2"]

    on_networks(tmp_path, test)


def test_a_cancelled_connect_leaves_nothing(machine: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        await networks.create({"Name": "lesson", **pool("10.5.0.0/24")})
        await networks.connect("0", "lesson")
        for delay in (0, 0.0005, 0.001, 0.002, 0.004):
            connecting = asyncio.ensure_future(networks.connect("1", "lesson"))
            await asyncio.sleep(delay)
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
            await networks.disconnect("1")
        await asyncio.sleep(0.3)
        assert (await networks.connect("1", "lesson")).addresses == ["10.5.0.3"]

    on_networks(tmp_path, test)
