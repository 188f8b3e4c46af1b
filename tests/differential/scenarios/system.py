"""What the daemon says of itself, and of urls it does not have."""

from __future__ import annotations

from tests.differential.recorder import Recorder, shape_of_json


def ping(api: Recorder) -> None:
    for method in ("GET", "HEAD"):
        api.step(f"{method}, versioned", method, "/_ping")
        api.record(f"{method}, unversioned", api.daemon.http.call(method, "/_ping"))


def version(api: Recorder) -> None:
    api.get("version", "/version")
    api.record("version, unversioned", api.daemon.http.call("GET", "/version"))


def info(api: Recorder) -> None:
    api.get("info", "/info", read=shape_of_json)


def disk_usage(api: Recorder) -> None:
    api.finish("box", "sh", "-c", "echo hello > /file")
    api.get("disk usage", "/system/df")


def versions_out_of_range(api: Recorder) -> None:
    for wanted in ("v1.11", "v1.99", "v1", "vx"):
        api.record(f"version {wanted}", api.daemon.http.call("GET", f"/{wanted}/containers/json"))


def unknown_urls(api: Recorder) -> None:
    api.get("no such route", "/nothing")
    api.get("no such route below containers", "/containers/box/nothing")
    api.step("method of no route", "PATCH", "/containers/json")
    api.step("method of another route", "PUT", "/containers/json")
    api.record("the top", api.daemon.http.call("GET", "/"))
