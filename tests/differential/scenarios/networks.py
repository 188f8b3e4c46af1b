"""Networks of one's own."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from tests.differential.recorder import Recorder, sorted_by, streams

SUBNET = {"Config": [{"Subnet": "10.99.0.0/24", "IPRange": "10.99.0.128/25", "Gateway": "10.99.0.1"}]}


def _network(api: Recorder, name: str, **settings: Any) -> str:
    answer = api.need("POST", "/networks/create", {"Name": name, **settings})
    return api.know(str(answer.json()["Id"]), name)


def _inside(api: Recorder, container: str, name: str, command: str) -> None:
    """What a shell in a running container prints."""
    words = {"Cmd": ["sh", "-c", command], "AttachStdout": True, "AttachStderr": True}
    identity = api.need("POST", f"/containers/{container}/exec", words).json()["Id"]
    answer = api.need("POST", f"/exec/{identity}/start", {"Detach": False})
    api.note(f"{name}: in {container}", streams(answer.body))


def _networks_of(api: Recorder, container: str) -> Any:
    return api.need("GET", f"/containers/{container}/json").json()["NetworkSettings"]["Networks"]


def made_and_removed(api: Recorder) -> None:
    create = api.post("create", "/networks/create", {"Name": "lesson", "Labels": {"course": "containers"}})
    api.know(create.json()["Id"], "lesson")
    api.post("again", "/networks/create", {"Name": "lesson", "CheckDuplicate": True})
    _network(api, "inner", Internal=True, Attachable=True)
    _network(
        api,
        "chosen",
        IPAM=SUBNET,
        Options={"com.docker.network.bridge.enable_icc": "false", "com.docker.network.driver.mtu": "1400"},
    )
    for name in ("lesson", "inner", "chosen"):
        api.get(f"inspect {name}", f"/networks/{name}")
    api.get("by the beginning of its id", f"/networks/{create.json()['Id'][:20]}")
    for name, filters in {
        "name": {"name": ["less"]},
        "label": {"label": ["course=containers"]},
        "custom": {"type": ["custom"]},
        "dangling": {"dangling": ["true"]},
        "driver": {"driver": ["bridge"]},
    }.items():
        api.get(f"by {name}", "/networks?filters=" + quote(json.dumps(filters)), read=sorted_by("Name"))
    api.delete("remove", "/networks/lesson")
    api.delete("remove again", "/networks/lesson")
    pruned = api.need("POST", "/networks/prune").json()["NetworksDeleted"]
    api.note("pruned", sorted(pruned))


def refused(api: Recorder) -> None:
    _network(api, "taken", IPAM={"Config": [{"Subnet": "10.98.0.0/24"}]})
    for name, body in {
        "no name": {},
        "predefined": {"Name": "bridge"},
        "unknown driver": {"Name": "x", "Driver": "pigeon"},
        "second host network": {"Name": "x", "Driver": "host"},
        "overlap": {"Name": "x", "IPAM": {"Config": [{"Subnet": "10.98.0.128/25"}]}},
        "no subnet": {"Name": "x", "IPAM": {"Config": [{"Subnet": "lots"}]}},
        "icc that is none": {"Name": "x", "Options": {"com.docker.network.bridge.enable_icc": "perhaps"}},
        "wrong type": {"Name": 3},
        "wrong labels": {"Name": "x", "Labels": ["a"]},
    }.items():
        api.post(name, "/networks/create", body)
    api.post("no JSON", "/networks/create", b"{", Content_Type="application/json")
    api.create("box", HostConfig={"NetworkMode": "nowhere"})
    api.post("start on an unknown network", "/containers/box/start")
    api.post("connect nobody", "/networks/taken/connect", {"Container": "nobody"})
    api.post("connect to nothing", "/networks/nowhere/connect", {"Container": "box"})
    two = {"EndpointsConfig": {"taken": {}, "bridge": {}}}
    api.post("two at once", "/containers/create?name=two", {"Image": "busybox", "NetworkingConfig": two})
    for name, endpoint, mode in (
        ("address on bridge", {"IPAMConfig": {"IPv4Address": "172.17.0.9"}}, "bridge"),
        ("address that is none", {"IPAMConfig": {"IPv4Address": "many"}}, "taken"),
        ("address of another subnet", {"IPAMConfig": {"IPv4Address": "10.1.2.3"}}, "taken"),
        ("alias on bridge", {"Aliases": ["web"]}, "bridge"),
    ):
        body = {
            "Image": "busybox",
            "Cmd": ["true"],
            "HostConfig": {"NetworkMode": mode},
            "NetworkingConfig": {"EndpointsConfig": {mode: endpoint}},
        }
        made = api.send("POST", f"/containers/create?name={name.replace(' ', '-')}", body)
        if made.status < 400:
            made = api.send("POST", f"/containers/{name.replace(' ', '-')}/start")
        api.note(name, made.status >= 400 and made.json()["message"].rpartition(": ")[2])


def names(api: Recorder) -> None:
    """Who is found by which name, and from where."""
    _network(api, "lesson")
    _network(api, "other")
    on_lesson = {"EndpointsConfig": {"lesson": {"Aliases": ["site", "Shop"]}}}
    api.run(
        "web",
        *("httpd", "-f", "-h", "/etc"),
        Hostname="host-of-web",
        HostConfig={"NetworkMode": "lesson"},
        NetworkingConfig=on_lesson,
    )
    api.run("near", "sleep", "1000", HostConfig={"NetworkMode": "lesson"})
    api.run("far", "sleep", "1000", HostConfig={"NetworkMode": "other"})
    api.run("default", "sleep", "1000")
    fetch = "timeout 3 wget -qO- http://{}/hostname 2>&1; echo $?"
    for name in ("web", "site", "shop", "WEB", "web.lesson", "host-of-web", "nobody"):
        _inside(api, "near", name, fetch.format(name))
    for container in ("far", "default", "web"):
        _inside(api, container, "web from there", fetch.format("web"))
    address = _networks_of(api, "web")["lesson"]["IPAddress"]
    api.know(address, "address of web")
    _inside(api, "near", "backwards", f"nslookup {address} | grep -o 'name = .*'")
    _inside(api, "near", "to the third", "ping -c 1 -W 1 far 2>&1 | tail -1")
    _inside(
        api, "far", "by address", f"timeout 1 wget -qO- http://{address}/hostname 2>&1 | head -1; echo $?"
    )
    _inside(
        api,
        "near",
        "resolv.conf",
        "grep -c 'nameserver 127.0.0.11' /etc/resolv.conf; grep -o ndots:0 /etc/resolv.conf",
    )
    _inside(api, "near", "who listens", "netstat -lnu | grep -c ':53 '; true")
    api.need("POST", "/containers/web/rename?name=shop2")
    _inside(api, "near", "renamed", fetch.format("shop2"))
    api.need("POST", "/containers/shop2/stop?t=0")
    _inside(api, "near", "stopped", fetch.format("shop2"))


def connected_while_running(api: Recorder) -> None:
    _network(api, "one")
    _network(api, "two", IPAM={"Config": [{"Subnet": "10.97.0.0/24"}]})
    api.run("web", "httpd", "-f", "-h", "/etc", Hostname="web")
    api.run("client", "sleep", "1000", HostConfig={"NetworkMode": "two"})
    settings = {"Aliases": ["site"], "IPAMConfig": {"IPv4Address": "10.97.0.77"}}
    api.post("connect", "/networks/two/connect", {"Container": "web", "EndpointConfig": settings})
    api.post("again", "/networks/two/connect", {"Container": "web"})
    api.note("networks", _networks_of(api, "web"))
    api.note("its network", api.need("GET", "/networks/two").json()["Containers"])
    _inside(api, "client", "found", "timeout 3 wget -qO- http://site/hostname")
    _inside(api, "web", "interfaces", "ip -o link | cut -d: -f2 | cut -d@ -f1")
    _inside(api, "web", "hosts", "grep -c web /etc/hosts")
    _inside(api, "web", "route", "ip route | grep default | grep -o 'dev.*' | sed 's/ *$//'")
    api.post("disconnect", "/networks/two/disconnect", {"Container": "web"})
    api.post("disconnect again", "/networks/two/disconnect", {"Container": "web"})
    _inside(api, "web", "interfaces after", "ip -o link | cut -d: -f2 | cut -d@ -f1")
    _inside(api, "web", "hosts after", "grep -c web /etc/hosts")
    _inside(api, "client", "gone", "timeout 3 wget -qO- http://site/hostname 2>&1; echo $?")
    api.post("disconnect from bridge", "/networks/bridge/disconnect", {"Container": "web"})
    _inside(api, "web", "alone", "ip -o link | cut -d: -f2 | cut -d@ -f1; ip route")
    api.delete("remove a network in use", "/networks/two")
    api.post("to host", "/networks/host/connect", {"Container": "web"})
    api.post("to none", "/networks/none/connect", {"Container": "web"})


def connected_before_the_start(api: Recorder) -> None:
    _network(api, "one")
    _network(api, "two")
    api.create("box", Cmd=["sleep", "1000"], HostConfig={"NetworkMode": "one"})
    api.post("connect", "/networks/two/connect", {"Container": "box"})
    api.note("before", sorted(_networks_of(api, "box")))
    api.need("POST", "/containers/box/start")
    api.note("networks", sorted(_networks_of(api, "box")))
    _inside(api, "box", "addresses", "ip -o -4 addr | wc -l")
    api.need("POST", "/containers/box/restart?t=0")
    api.note("after a restart", sorted(_networks_of(api, "box")))
    api.need("POST", "/containers/box/kill")
    api.need("POST", "/containers/box/wait")
    api.post("disconnect", "/networks/one/disconnect", {"Container": "box"})
    api.note("networks left", sorted(_networks_of(api, "box")))
    api.post("start on what is left", "/containers/box/start")
    api.note("and then", sorted(_networks_of(api, "box")))


def hardware_addresses(api: Recorder) -> None:
    """One that was asked for is known before the container runs, and after."""
    _network(api, "one")
    mac = "02:42:ac:11:00:99"
    api.create("connected", Cmd=["sleep", "1000"])
    settings = {"Container": "connected", "EndpointConfig": {"MacAddress": mac}}
    api.post("connect", "/networks/one/connect", settings)
    api.create("config", Cmd=["sleep", "1000"], MacAddress=mac)
    endpoints = {"EndpointsConfig": {"one": {"MacAddress": "02:42:ac:11:00:98"}}}
    api.create(
        "endpoint", Cmd=["sleep", "1000"], HostConfig={"NetworkMode": "one"}, NetworkingConfig=endpoints
    )
    for container in ("connected", "config", "endpoint"):
        for moment, verb in (("made", ""), ("running", "start"), ("ended", "kill")):
            if verb:
                api.need("POST", f"/containers/{container}/{verb}")
            if verb == "kill":
                api.need("POST", f"/containers/{container}/wait")
            networks = _networks_of(api, container)
            # Docker derives an address that was not asked for from the IP address, as we do.
            api.note(f"{container} {moment}", {name: it["MacAddress"] for name, it in networks.items()})


def address_of_a_subnet_without_ipv6(api: Recorder) -> None:
    """A network may have a subnet of IPv6 and yet no IPv6: an address there is noted and not given."""
    _network(api, "one", IPAM={"Config": [{"Subnet": "fd00:77::/64"}]})
    settings = {"one": {"IPAMConfig": {"IPv6Address": "fd00:77::f00d"}}}
    one = {"NetworkMode": "one"}
    api.create("box", Cmd=["sleep", "1000"], HostConfig=one, NetworkingConfig={"EndpointsConfig": settings})
    api.post("start", "/containers/box/start")
    found = _networks_of(api, "box")["one"]
    api.note("box", [found["IPAMConfig"], found["GlobalIPv6Address"]])


def internal(api: Recorder) -> None:
    _network(api, "inner", Internal=True)
    api.run("one", "httpd", "-f", "-h", "/etc", Hostname="one", HostConfig={"NetworkMode": "inner"})
    api.run("two", "sleep", "1000", HostConfig={"NetworkMode": "inner"})
    _inside(api, "two", "neighbour", "timeout 3 wget -qO- http://one/hostname")
    _inside(api, "two", "way out", "ip route | grep -c default")
    api.note("networks", _networks_of(api, "one"))


def ipv6(api: Recorder) -> None:
    """IPv6 beside IPv4: who has which address, and how it is found."""
    pools = [{"Subnet": "10.96.0.0/24"}, {"Subnet": "fd00:96::/64"}]
    _network(api, "six", EnableIPv6=True, IPAM={"Config": pools})
    _network(api, "other", EnableIPv6=True, IPAM={"Config": [{"Subnet": "fd00:97::/64"}]})
    _network(api, "four", IPAM={"Config": pools[1:]})
    for name in ("six", "other", "four"):
        inspected = api.need("GET", f"/networks/{name}").json()
        shown = [each for each in inspected["IPAM"]["Config"] if name == "six" or ":" in each["Subnet"]]
        api.note(f"{name} is made", {"EnableIPv6": inspected["EnableIPv6"], "IPAM": {"Config": shown}})
    api.delete("remove four", "/networks/four")
    at = {"IPAMConfig": {"IPv6Address": "fd00:96::77"}}
    api.run(
        *("web", "httpd", "-f", "-p", "[::]:80", "-h", "/etc"),
        Hostname="the-web",
        HostConfig={"NetworkMode": "six"},
        NetworkingConfig={"EndpointsConfig": {"six": at}},
    )
    api.run("near", "sleep", "1000", HostConfig={"NetworkMode": "six"})
    api.run("far", "sleep", "1000", HostConfig={"NetworkMode": "other"})
    for name in ("web", "near"):
        api.note(f"networks of {name}", _networks_of(api, name))
    api.note("who is on it", api.need("GET", "/networks/six").json()["Containers"])
    _inside(api, "web", "hosts", "grep the-web /etc/hosts")
    _inside(api, "web", "route", "ip -6 route show default | grep -o 'via [^ ]* dev eth0'")
    _inside(api, "web", "addresses", "ip -o -6 addr show dev eth0 scope global | grep -o 'inet6 [^ ]*'")
    _inside(api, "near", "AAAA", "nslookup -type=aaaa web 127.0.0.11 | grep 'Address: fd'")
    _inside(api, "near", "backwards", "nslookup fd00:96::77 127.0.0.11 | grep -o 'name = .*'")
    fetch = "timeout 2 wget -qO- http://{}/hostname 2>/dev/null; echo $?"
    for place in ("web", "[fd00:96::77]"):
        _inside(api, "near", f"fetch from {place}", fetch.format(place))
    _inside(api, "near", "gateway", "ping -6 -c 1 -W 2 fd00:96::1 | grep -c ttl")
    settings = {"IPAMConfig": {"IPv6Address": "fd00:97::88"}}
    api.post("connect", "/networks/other/connect", {"Container": "web", "EndpointConfig": settings})
    _inside(api, "far", "fetch", fetch.format("[fd00:97::88]"))
    _inside(api, "web", "hosts with two", "grep the-web /etc/hosts | grep :")
    _inside(api, "web", "route with two", "ip -6 route show default | grep -o 'via [^ ]* dev eth.'")


def ipv6_refused(api: Recorder) -> None:
    pools = [{"Subnet": "10.96.0.0/24"}, {"Subnet": "fd00:96::/64"}]
    _network(api, "six", EnableIPv6=True, IPAM={"Config": pools})
    for name, body in {
        "no subnet": {},
        "a subnet of IPv4 only": {"IPAM": {"Config": [{"Subnet": "10.95.0.0/24"}]}},
        "overlap": {"IPAM": {"Config": [{"Subnet": "fd00:96:0:0:1::/80"}]}},
        "malformed": {"IPAM": {"Config": [{"Subnet": "fd00::g/64"}]}},
        "two": {"IPAM": {"Config": [{"Subnet": "fd00:1::/64"}, {"Subnet": "fd00:2::/64"}]}},
        "gateway elsewhere": {"IPAM": {"Config": [{"Subnet": "fd00:1::/64", "Gateway": "fd00:2::1"}]}},
    }.items():
        api.post(name, "/networks/create", {"Name": "x", "EnableIPv6": True, **body})
    for name, address, mode in (
        ("on bridge", "fd00:96::9", "bridge"),
        ("that is none", "many", "six"),
        ("of IPv4", "10.96.0.9", "six"),
        ("of another subnet", "fd00:95::9", "six"),
        ("of the gateway", "fd00:96::1", "six"),
    ):
        body = {
            "Image": "busybox",
            "Cmd": ["true"],
            "HostConfig": {"NetworkMode": mode},
            "NetworkingConfig": {"EndpointsConfig": {mode: {"IPAMConfig": {"IPv6Address": address}}}},
        }
        box = name.replace(" ", "-")
        made = api.send("POST", f"/containers/create?name={box}", body)
        if made.status < 400:
            made = api.send("POST", f"/containers/{box}/start")
        api.note(f"address {name}", made.status >= 400 and made.json()["message"].rpartition(": ")[2])


def host_gateway(api: Recorder) -> None:
    """The machine by a name of one's choice."""
    hosts = ["machine:host-gateway"]
    for mode in ("bridge", "lesson"):
        if mode != "bridge":
            _network(api, mode)
        api.run(f"on-{mode}", "sleep", "1000", HostConfig={"NetworkMode": mode, "ExtraHosts": hosts})
        command = "ping -c 1 -W 2 machine | grep -c ttl; grep -c machine /etc/hosts"
        _inside(api, f"on-{mode}", "machine", command)
        _inside(api, f"on-{mode}", "by Docker Desktop's name", "grep -c host.docker.internal /etc/hosts")


def published(api: Recorder) -> None:
    """Ports follow the network that leads out."""
    _network(api, "alpha")
    ports = {"PortBindings": {"80/tcp": [{"HostPort": "8099"}]}}
    api.run(
        *("web", "httpd", "-f", "-h", "/etc"),
        Hostname="web",
        ExposedPorts={"80/tcp": {}},
        HostConfig={"NetworkMode": "alpha", **ports},
    )
    api.note("from the host", api.daemon.curl(8099, "/hostname"))
    api.note("ports", api.need("GET", "/containers/web/json").json()["NetworkSettings"]["Ports"])
    api.need("POST", "/networks/bridge/connect", {"Container": "web"})
    api.need("POST", "/networks/alpha/disconnect", {"Container": "web"})
    api.note("after the change", api.daemon.curl(8099, "/hostname"))


def events(api: Recorder) -> None:
    start = json.loads(api.daemon.run(["sh", "-c", "sleep 1.1; date +%s"]).stdout)
    _network(api, "lesson")
    api.run("box", "sleep", "1000", HostConfig={"NetworkMode": "lesson"})
    api.need("POST", "/networks/bridge/connect", {"Container": "box"})
    api.need("POST", "/networks/bridge/disconnect", {"Container": "box"})
    api.need("DELETE", "/containers/box?force=1")
    api.need("DELETE", "/networks/lesson")
    end = api.daemon.run(["sh", "-c", "sleep 1.1; date +%s"]).stdout.strip()
    wanted = quote(json.dumps({"type": ["network"]}))
    answer = api.need("GET", f"/events?since={start}&until={end}&filters={wanted}")
    found = [event for event in answer.json_lines() if event["time"] >= start]
    seen = [[event["Action"], event["Actor"]["Attributes"]] for event in found]
    # Docker tells twice that a running container has left.
    api.note("seen", [event for event, before in zip(seen, [None, *seen], strict=False) if event != before])
