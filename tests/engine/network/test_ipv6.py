"""Networks with IPv6 for real: on a machine of the test's own, and between containers of an engine."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from labkernel.engine.errors import Forbidden, InvalidParameter, System
from labkernel.engine.network import networks as networks_module
from labkernel.engine.network.definition import EndpointConfig
from labkernel.engine.network.networks import Networks
from labkernel.engine.network.sandbox import Sandbox
from tests.engine.network.places import Machine, fetch, ip, ruleset, says, tcp_server, within
from tests.engine.network.test_networks import aside, interfaces, on_networks, published
from tests.engine.network.test_user_networks import path
from tests.support.daemons import Daemon

#: As HOST, WORLD and FAR_AWAY of `places`: addresses reserved for documentation (RFC 3849).
HOST, WORLD, FAR_AWAY = "2001:db8:1::1", "2001:db8:1::2", "2001:db8:9::9"


def pool(subnet: str, **more: Any) -> dict[str, Any]:
    return {"EnableIPv6": True, "IPAM": {"Config": [{"Subnet": subnet}]}, **more}


@pytest.fixture
def machine6(machine: Machine) -> Machine:
    """The wire to the world has addresses of IPv6, and the world knows no way back to any other."""
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("0")
    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("0")

    def make_world() -> None:
        Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("0")
        ip(f"address add {WORLD}/64 dev wire nodad")
        ip(f"address add {FAR_AWAY}/128 dev lo")

    within(machine.world, make_world)
    ip(f"address add {HOST}/64 dev wire nodad")
    ip(f"-6 route add default via {WORLD}")
    return machine


def addresses6(netns: str) -> dict[str, list[str]]:
    """Interface -> its addresses of IPv6, those of the link alone left out."""
    shown = subprocess.check_output(["nsenter", f"--net={netns}", "ip", "-6", "-j", "address"], text=True)
    return {
        each["ifname"]: [
            f"{address['local']}/{address['prefixlen']}"
            for address in each["addr_info"]
            if address["scope"] == "global"
        ]
        for each in json.loads(shown)
        if each.get("ifname")
    }


def test_containers_reach_each_other_the_machine_and_the_world(machine6: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        await networks.create({"Name": "six", **pool("fd00:5::/64")})
        one = await networks.connect("1", "six", name="one")
        two = await networks.connect("2", "six", name="two")
        assert one.addresses == ["172.18.0.2", "fd00:5::2"]
        assert addresses6(path(one)) == {"lo": [], "eth0": ["fd00:5::2/64"]}
        assert interfaces(path(one))["eth0"] == "172.18.0.2/16"
        endpoint = two.endpoints["six"]
        assert (endpoint.address6, endpoint.prefix_length6, endpoint.gateway6) == (
            "fd00:5::3",
            64,
            "fd00:5::1",
        )
        with (
            tcp_server(path(one), 80, says(b"one"), address="::"),
            tcp_server(machine6.host, 80, says(b"host"), address="::"),
            tcp_server(machine6.world, 80, says(b"world"), address="::") as clients,
        ):
            assert await aside(fetch, "fd00:5::2", 80, netns=path(two)) == b"one"
            assert await aside(fetch, "fd00:5::2", 80) == b"one", "from the machine"
            assert await aside(fetch, "fd00:5::1", 80, netns=path(two)) == b"host"
            assert await aside(fetch, FAR_AWAY, 80, netns=path(two)) == b"world"
            assert clients == [HOST], "the world knows no way to fd00:5::/64"
            within(machine6.world, lambda: ip(f"-6 route add fd00:5::/64 via {HOST}"))
            with pytest.raises(TimeoutError):
                await aside(fetch, "fd00:5::2", 80, netns=machine6.world, timeout=0.5)

    on_networks(tmp_path, test)
    assert ruleset() == ""


def test_networks_do_not_reach_each_other(machine6: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        await networks.create({"Name": "a", **pool("fd00:5::/64")})
        await networks.create({"Name": "b", **pool("fd00:6::/64")})
        await networks.create({"Name": "inner", "Internal": True, **pool("fd00:7::/64")})
        one = await networks.connect("1", "a")
        other = await networks.connect("2", "b")
        inner = await networks.connect("3", "inner")
        assert inner.endpoints["inner"].gateway6 == ""
        within(path(inner), lambda: ip("-6 route add default via fd00:7::1"))
        with (
            tcp_server(path(one), 80, says(b"one"), address="::"),
            tcp_server(path(inner), 80, says(b"inner"), address="::"),
            tcp_server(machine6.world, 80, says(b"world"), address="::"),
        ):
            assert await aside(fetch, FAR_AWAY, 80, netns=path(other)) == b"world"
            for address, stranger in (
                ("fd00:5::2", other),
                ("fd00:5::2", inner),
                ("fd00:7::2", one),
                (FAR_AWAY, inner),
            ):
                with pytest.raises(TimeoutError):
                    await aside(fetch, address, 80, netns=path(stranger), timeout=0.5)

    on_networks(tmp_path, test)


def test_addresses_of_one_s_choice(machine6: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        await networks.create({"Name": "six", **pool("fd00:5::/64")})
        await networks.create({"Name": "four"})
        at = {"six": EndpointConfig(address6="fd00:5::3")}
        one = await networks.connect("1", "six", wanted=at)
        assert addresses6(path(one))["eth0"] == ["fd00:5::3/64"]
        with pytest.raises(Forbidden, match="Address already in use"):
            await networks.connect("2", "six", wanted=at)
        others = [await networks.connect(str(number), "six") for number in (3, 4)]
        assert [other.addresses for other in others] == [
            ["172.18.0.3", "fd00:5::2"],
            ["172.18.0.4", "fd00:5::4"],
        ], "the address of IPv4 that was taken for the second is free again"
        with pytest.raises(InvalidParameter, match="user configured subnets"):
            await networks.connect("5", "four", wanted={"four": EndpointConfig(address6="fd00:5::9")})
        with pytest.raises(InvalidParameter, match="does not belong"):
            await networks.connect("5", "six", wanted={"six": EndpointConfig(address6="fd00:6::1")})
        await networks.disconnect("1")
        assert (await networks.connect("6", "six", wanted=at)).endpoints["six"].address6 == "fd00:5::3"

    on_networks(tmp_path, test)


def test_the_way_out_follows(machine6: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        await networks.create({"Name": "b", **pool("fd00:6::/64")})
        await networks.create({"Name": "c", **pool("fd00:7::/64")})
        await networks.create({"Name": "a"})
        box = await networks.connect("1", "c")
        assert _way_out(box) == "fd00:7::1"
        for name, gateway in (("b", "fd00:6::1"), ("a", "")):
            await box.join(networks.find(name), EndpointConfig())
            assert _way_out(box) == gateway
        assert box.addresses == ["172.19.0.2", "fd00:7::2", "172.18.0.2", "fd00:6::2", "172.20.0.2"]
        await box.leave(networks.find("a"))
        assert _way_out(box) == "fd00:6::1"
        await box.leave(networks.find("b"))
        assert _way_out(box) == "fd00:7::1"
        assert addresses6(path(box)) == {"lo": [], "eth0": ["fd00:7::2/64"]}

    on_networks(tmp_path, test)


def _way_out(box: Sandbox) -> str:
    shown = within(
        path(box), lambda: subprocess.check_output(["ip", "-6", "-j", "route", "show", "default"], text=True)
    )
    return "".join(route["gateway"] for route in json.loads(shown))


def test_what_is_made_stays_and_what_is_removed_goes(machine6: Machine, tmp_path: Path) -> None:
    before = machine6.interfaces()
    found: list[dict[str, Any]] = []

    async def make(networks: Networks) -> None:
        found.append(await networks.create({"Name": "six", **pool("fd00:5::/64")}))
        assert (found[0]["EnableIPv6"], len(found[0]["IPAM"]["Config"])) == (True, 2)

    async def remove(networks: Networks) -> None:
        assert networks.inspect("six") == found[0]
        with pytest.raises(Forbidden, match="Pool overlaps"):
            await networks.create({"Name": "other", **pool("fd00:5:0:0:1::/80")})
        await networks.connect("1", "six")
        assert "fd00:5::/64" in ruleset()
        await networks.disconnect("1")
        await networks.remove("six")
        assert machine6.interfaces() == before
        assert "fd00:5" not in ruleset()
        await networks.create({"Name": "other", **pool("fd00:5::/64")})

    on_networks(tmp_path, make)
    on_networks(tmp_path, remove)
    assert (machine6.interfaces(), ruleset()) == (before, "")


def test_the_machine_goes_on_to_take_routes_from_its_routers(machine6: Machine, tmp_path: Path) -> None:
    """Which a machine that forwards does no more, unless told to."""
    accept_ra = {name: Path(f"/proc/sys/net/ipv6/conf/{name}/accept_ra") for name in ("wire", "lo")}
    accept_ra["wire"].write_text("1")
    accept_ra["lo"].write_text("0")

    async def test(networks: Networks) -> None:
        await networks.create({"Name": "six", **pool("fd00:5::/64")})
        await networks.connect("1", "six")
        assert Path("/proc/sys/net/ipv6/conf/all/forwarding").read_text() == "1\n"
        assert {name: file.read_text() for name, file in accept_ra.items()} == {"wire": "2\n", "lo": "0\n"}

    on_networks(tmp_path, test)


def test_a_published_port_is_reached_over_ipv6(machine6: Machine, tmp_path: Path) -> None:
    async def test(networks: Networks) -> None:
        await networks.create({"Name": "six", **pool("fd00:5::/64")})
        web = await networks.connect("1", "six", ports=published({"80/tcp": [{"HostPort": "8080"}]}))
        with tcp_server(path(web), 80, says(b"web")):
            for address, netns in (("::1", machine6.host), (HOST, machine6.world)):
                assert await aside(fetch, address, 8080, netns=netns) == b"web"

    on_networks(tmp_path, test)


def test_a_kernel_without_ipv6(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks_module, "has_ipv6", lambda: False)

    async def test(networks: Networks) -> None:
        with pytest.raises(System, match="Cannot read IPv6 setup for bridge") as caught:
            await networks.create({"Name": "six", **pool("fd00:5::/64")})
        assert "leave --ipv6 out" in str(caught.value.hint)

    on_networks(tmp_path, test)


def test_two_containers_find_each_other_by_name_and_address(
    any_engine: Daemon, request: pytest.FixtureRequest
) -> None:
    """So they do on an ordinary user's engine, which tells that it leads no further by IPv6."""

    def docker(*words: str) -> str:
        ran = any_engine.docker(*words)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    docker("network", "create", "--ipv6", "--subnet", "fd00:5::/64", "six")
    docker(
        *("run", "-d", "--name", "web", "--network", "six", "--ip6", "fd00:5::77", "--hostname", "the-web"),
        *("busybox", "httpd", "-f", "-p", "[::]:80", "-h", "/etc"),
    )
    ask = "nslookup -type=aaaa web 127.0.0.11 | grep -c fd00:5::77; "
    ask += "for place in web [fd00:5::77]; do timeout 3 wget -qO- http://$place/hostname; done"
    assert docker("run", "--rm", "--network", "six", "busybox", "sh", "-c", ask) == "1\nthe-web\nthe-web\n"
    inside = docker("exec", "web", "sh", "-c", "grep the-web /etc/hosts; ip -6 route show default")
    assert "fd00:5::77\tthe-web\n" in inside
    assert "default via fd00:5::1 dev eth0" in inside
    told = "networks with IPv6" in any_engine.docker("info").stderr
    assert told is (request.node.callspec.params["any_engine"] != "engine")
