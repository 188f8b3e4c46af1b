"""Links between containers of the default bridge: names, variables, and what takes them away."""

from __future__ import annotations

import json
from typing import Any

from tests.differential.recorder import Recorder, streams


def _linked(*links: str, **more: Any) -> dict[str, Any]:
    return {"HostConfig": {"Links": list(links), **more}}


def _shown(api: Recorder, name: str) -> Any:
    return api.need("GET", f"/containers/{name}/json").json()["HostConfig"]["Links"]


def _names(body: bytes) -> Any:
    return sorted(sorted(entry["Names"]) for entry in json.loads(body))


def seen_inside(api: Recorder) -> None:
    ports = ("80/tcp", "79/tcp", "81/tcp", "53/udp", "53/tcp", "5432/tcp")
    api.run(
        "data-base",
        "sleep",
        "1000",
        Env=["A=b", "PATH=/bin", "HOME=/", "EMPTY=", "WITH=a=b"],
        ExposedPorts={port: {} for port in ports},
        Hostname="db-host",
    )
    api.run("plain", "sleep", "1000")
    api.finish(
        "box",
        "sh",
        "-c",
        "sort -k2 /etc/hosts | grep -v host.docker.internal; env | grep -v HOSTNAME | sort;"
        " ping -c 1 -W 1 the-db | grep -c ttl",
        Env=["MINE=1", "PLAIN_NAME=mine"],
        **_linked("data-base:the-db", "plain", ExtraHosts=["other:1.2.3.4"]),
    )
    api.get("inside", "/containers/box/logs?stdout=1&stderr=1", streams)
    api.note("shown", sorted(_shown(api, "box")))
    api.get("listed", "/containers/json?all=1", _names)
    api.get("by the link's name", "/containers/box/the-db/json")


def exec_sees_them(api: Recorder) -> None:
    api.run("db", "sleep", "1000", ExposedPorts={"1/tcp": {}})
    api.run("box", "sleep", "1000", **_linked("db:d"))
    got = api.daemon.docker("exec", "box", "sh", "-c", "env | grep ^D_ | sort")
    api.note("environment", got.stdout)


def renamed_and_removed(api: Recorder) -> None:
    api.run("db", "sleep", "1000")
    api.create("box", Cmd=["sleep", "1000"], **_linked("db:d"))
    api.need("POST", "/containers/db/rename?name=data")
    api.need("POST", "/containers/box/rename?name=case")
    api.note("after renaming", _shown(api, "case"))
    api.get("listed", "/containers/json?all=1", _names)
    api.delete("a link that is none", "/containers/case/x?link=1")
    api.delete("the name itself", "/containers/case?link=1")
    api.delete("unlink", "/containers/case/d?link=1")
    api.note("after unlinking", _shown(api, "case"))
    api.create("second", Cmd=["sleep", "1000"], **_linked("data:d"))
    api.delete("remove the linked one", "/containers/data?force=1")
    api.note("after removing", _shown(api, "second"))
    api.post("start", "/containers/second/start")


def started_again(api: Recorder) -> None:
    """A linked container that comes back with another address is found under it."""
    api.run("db", "sleep", "1000")
    api.run("box", "sleep", "1000", **_linked("db:d"))
    api.need("POST", "/containers/db/kill")
    api.run("in-between", "sleep", "1000")
    api.need("POST", "/containers/db/start")
    address = api.need("GET", "/containers/db/json").json()["NetworkSettings"]["IPAddress"]
    hosts = api.daemon.docker("exec", "box", "cat", "/etc/hosts").stdout
    api.note("found", [line.split()[1:] for line in hosts.splitlines() if line.split()[0] == address])


def refused(api: Recorder) -> None:
    api.create("ended", Cmd=["true"])
    api.create("host", Cmd=["true"], HostConfig={"NetworkMode": "host"})
    for name, links in {
        "nobody": ["nobody:x"],
        "too many words": ["ended:a:b"],
        "empty": [""],
        "to the host's network": ["host:h"],
    }.items():
        body = {"Image": "busybox", "Cmd": ["true"], **_linked(*links)}
        api.post(name, "/containers/create", body)
    api.create("box", Cmd=["true"], **_linked("ended:e"))
    api.post("to one that does not run", "/containers/box/start")
