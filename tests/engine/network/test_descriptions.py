"""Our JSON beside that of Docker's daemon: the same fields in the same states."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkernel.engine.database import Database
from labkernel.engine.errors import EngineError, InvalidParameter
from labkernel.engine.network.definition import EndpointConfig
from labkernel.engine.network.networks import Networks
from labkernel.engine.network.ports import requested_ports
from tests.engine.network.places import Machine, connect
from tests.support.daemons import Daemon

API = "/v1.41"
HOST_CONFIG: dict[str, dict[str, Any]] = {
    "bridge": {"NetworkMode": "default", "PortBindings": {"80/tcp": [{"HostPort": "8080"}]}},
    "none": {"NetworkMode": "none"},
    "host": {"NetworkMode": "host"},
}
#: Different for every container or daemon.
IDENTITIES = {"SandboxID", "SandboxKey", "EndpointID", "NetworkID"}
EXPOSED: dict[str, Any] = {"80/tcp": {}, "81/udp": {}}


@pytest.fixture
def oracle(dockerd: Daemon) -> Iterator[Daemon]:
    yield dockerd
    dockerd.clear()


def create(daemon: Daemon, mode: str, name: str) -> str:
    body = {
        "Image": "busybox",
        "Cmd": ["sleep", "60"],
        "HostConfig": HOST_CONFIG[mode],
        "ExposedPorts": EXPOSED,
    }
    created = daemon.http.call("POST", f"{API}/containers/create?name={name}", body)
    assert created.status == 201, created.body
    identity: str = created.json()["Id"]
    return identity


def settings(daemon: Daemon, container: str) -> dict[str, Any]:
    found: dict[str, Any] = daemon.http.call("GET", f"{API}/containers/{container}/json").json()[
        "NetworkSettings"
    ]
    return found


def comparable(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with identities reduced to whether they are there."""
    found = {key: bool(value) if key in IDENTITIES else value for key, value in settings.items()}
    return found | {"Networks": {name: reduced(each) for name, each in settings["Networks"].items()}}


def reduced(endpoint: dict[str, Any]) -> dict[str, Any]:
    return {key: bool(value) if key in IDENTITIES else value for key, value in endpoint.items()}


async def ours(
    directory: Path, mode: str
) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """NetworkSettings while running and after, all networks, and the network with the container on it."""
    database = Database(directory / "engine.db")
    networks = await Networks.open(state_dir=directory, database=database, rootless=False)
    try:
        host_config = HOST_CONFIG[mode]
        await connect(
            networks,
            "1" * 64,
            str(host_config["NetworkMode"]),
            name="one",
            ports=requested_ports(host_config),
            exposed=EXPOSED,
        )
        running = networks.network_settings("1" * 64, {mode: EndpointConfig()})
        inspected = networks.inspect(mode)
        await networks.disconnect("1" * 64)
        ended = networks.network_settings("1" * 64, {mode: EndpointConfig()})
        return running, ended, networks.list(), inspected
    finally:
        await networks.close()


@pytest.mark.parametrize("mode", list(HOST_CONFIG))
def test_settings_and_networks(oracle: Daemon, machine: Machine, tmp_path: Path, mode: str) -> None:
    container = create(oracle, mode, "one")
    assert oracle.http.call("POST", f"{API}/containers/{container}/start").status == 204
    theirs = settings(oracle, container)
    their_network = oracle.http.call("GET", f"{API}/networks/{mode}").json()
    their_list = oracle.http.call("GET", f"{API}/networks").json()
    oracle.http.call("POST", f"{API}/containers/{container}/kill")
    oracle.http.call("POST", f"{API}/containers/{container}/wait")
    their_end = settings(oracle, container)

    running, ended, listed, inspected = asyncio.run(ours(tmp_path, mode))
    mine, other = comparable(running), comparable(theirs)
    # The host's namespace has no path of its own here.
    assert mine.pop("SandboxKey") is (mode != "host")
    assert other.pop("SandboxKey")
    assert mine == other
    mine, other = comparable(ended), comparable(their_end)
    for sandbox in ("SandboxID", "SandboxKey"):
        # Docker still tells the last run's.
        assert not mine.pop(sandbox)
        other.pop(sandbox)
    assert mine == other

    assert {each["Name"]: shape(each) for each in listed} == {
        each["Name"]: shape(each) for each in their_list
    }
    assert shape(inspected) == shape(their_network)
    assert list(map(reduced, inspected["Containers"].values())) == list(
        map(reduced, their_network["Containers"].values())
    )


def shape(network: dict[str, Any]) -> dict[str, Any]:
    """A network without what differs from machine to machine."""
    found = {key: value for key, value in network.items() if key not in ("Id", "Created", "Containers")}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", network["Created"])
    assert re.fullmatch(r"[0-9a-f]{64}", network["Id"])
    found["Options"] = sorted(network["Options"])
    found["IPAM"] = network["IPAM"] | {"Config": len(network["IPAM"]["Config"])}
    return found


def test_a_taken_port_is_refused_in_docker_s_words(oracle: Daemon, machine: Machine, tmp_path: Path) -> None:
    create(oracle, "bridge", "one")
    create(oracle, "bridge", "two")
    assert oracle.http.call("POST", f"{API}/containers/one/start").status == 204
    refused = oracle.http.call("POST", f"{API}/containers/two/start")
    assert refused.status == 500

    async def message() -> str:
        networks = await Networks.open(state_dir=tmp_path, database=Database(tmp_path / "db"), rootless=False)
        try:
            ports = requested_ports(HOST_CONFIG["bridge"])
            await connect(networks, "1", "bridge", name="one", ports=ports)
            with pytest.raises(EngineError) as caught:
                await connect(networks, "2", "bridge", name="two", ports=ports)
            return caught.value.message
        finally:
            await networks.close()

    def without_id(text: str) -> str:
        return re.sub(r"\([0-9a-f]{64}\)", "(ID)", text)

    assert without_id(asyncio.run(message())) == without_id(refused.json()["message"])


@pytest.mark.parametrize("host_port", ["99999", "x", "8-5", "0", "8000-8005", ""])
def test_host_ports_are_judged_as_docker_judges_them(oracle: Daemon, host_port: str) -> None:
    host_config = {"PortBindings": {"80/tcp": [{"HostPort": host_port}]}}
    answer = oracle.http.call(
        "POST", f"{API}/containers/create", {"Image": "busybox", "HostConfig": host_config}
    )
    assert (answer.status, answer.json().get("message")) == judged(host_config)


def judged(host_config: dict[str, Any]) -> tuple[int, str | None]:
    try:
        requested_ports(host_config)
    except InvalidParameter as error:
        return 400, error.message
    return 201, None
