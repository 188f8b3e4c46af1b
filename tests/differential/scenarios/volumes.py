"""Volumes of the local driver that are mounts, and the driver's options that make no sense."""

from __future__ import annotations

from typing import Any

from tests.differential.recorder import Recorder, streams


def _make(api: Recorder, name: str, **options: str) -> None:
    api.post(f"create {name}", "/volumes/create", {"Name": name, "DriverOpts": options})


def _seen(api: Recorder, name: str, destination: str, script: str, **host_config: Any) -> None:
    """What a container finds at a volume's place, or why it does not start."""
    body = {
        "Image": "busybox",
        "Cmd": ["sh", "-c", script],
        "HostConfig": {"Binds": [f"{name}:{destination}"], **host_config},
    }
    created = api.post(f"{name} at {destination}", "/containers/create", body)
    if created.status != 201:
        return
    container = created.json()["Id"]
    started = api.post(f"{name} at {destination}: start", f"/containers/{container}/start")
    if started.status < 300:
        api.need("POST", f"/containers/{container}/wait")
        url = f"/containers/{container}/logs?stdout=1&stderr=1"
        api.get(f"{name} at {destination}: output", url, streams)
    api.need("DELETE", f"/containers/{container}?force=1")


def refused_options(api: Recorder) -> None:
    for name, options in {
        "unknown": {"colour": "red"},
        "type-alone": {"type": "tmpfs"},
        "device-alone": {"device": "tmpfs"},
        "size": {"size": "1m"},
    }.items():
        _make(api, name, **options)
    _make(api, "none")
    _make(api, "empty", type="", device="", o="")
    api.post("driver", "/volumes/create", {"Name": "driver", "Driver": "paper"})
    api.post("no options", "/volumes/create", {"Name": "no-options"})


def memory(api: Recorder) -> None:
    _make(api, "memory", type="tmpfs", device="tmpfs", o="size=1m,uid=1000,mode=750,nosuid")
    api.get("inspect", "/volumes/memory")
    _seen(api, "memory", "/mnt", "grep ' /mnt ' /proc/mounts; stat -c '%u %a' /mnt; touch /mnt/a && ls /mnt")
    _seen(api, "memory", "/etc", "ls /etc")
    api.run("one", "sh", "-c", "touch /m/a; sleep 1000", HostConfig={"Binds": ["memory:/m"]})
    api.finish("other", "sh", "-c", "while ! ls /m | grep a; do :; done", HostConfig={"Binds": ["memory:/m"]})
    api.get("shared", "/containers/other/logs?stdout=1", streams)
    api.delete("in use", "/volumes/memory")


def bind(api: Recorder) -> None:
    place = api.daemon.directory / "bound"
    place.mkdir(mode=0o755)
    (place / "file").write_text("hello")
    _make(api, "bound", type="none", device=str(place), o="bind")
    _make(api, "read-only", type="none", device=str(place), o="bind,ro")
    _seen(api, "bound", "/mnt", "cat /mnt/file; touch /mnt/new")
    _seen(api, "read-only", "/mnt", "ls /mnt; touch /mnt/newer")
    _seen(api, "bound", "/etc", "cat /etc/file; ls /etc/passwd")
    for name in ("bound", "read-only"):
        api.delete(f"remove {name}", f"/volumes/{name}")
    api.note("what is left", sorted(path.name for path in place.iterdir() if path.name in ("file", "new")))


def mounts_that_fail(api: Recorder) -> None:
    _make(api, "nowhere", type="none", device="/no/such/place", o="bind")
    _make(api, "no-such-type", type="paper", device="x")
    _make(api, "bad-option", type="tmpfs", device="tmpfs", o="size=x")
    for name in ("nowhere", "no-such-type", "bad-option"):
        for destination in ("/mnt", "/etc"):
            _seen(api, name, destination, "true")


def given_with_the_mount(api: Recorder) -> None:
    mount = {
        "Type": "volume",
        "Source": "made",
        "Target": "/m",
        "VolumeOptions": {
            "Labels": {"a": "b"},
            "DriverConfig": {
                "Name": "local",
                "Options": {"type": "tmpfs", "device": "tmpfs", "o": "size=2m"},
            },
        },
    }
    api.finish("box", "sh", "-c", "grep ' /m ' /proc/mounts", HostConfig={"Mounts": [mount]})
    api.get("output", "/containers/box/logs?stdout=1", streams)
    api.get("inspect", "/volumes/made")
