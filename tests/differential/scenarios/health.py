"""Health checks: what they find, what is seen of them, and what ends them."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote

from tests.differential.recorder import Recorder

_TENTH = 100_000_000
"""Nanoseconds."""


def _check(*test: str, **more: Any) -> dict[str, Any]:
    return {"Test": list(test), "Interval": 2 * _TENTH, "Timeout": 50 * _TENTH, "Retries": 2, **more}


def _filters(**wanted: list[str]) -> str:
    return quote(json.dumps(wanted))


def _health(api: Recorder, name: str) -> Any:
    return api.need("GET", f"/containers/{name}/json").json()["State"].get("Health")


def _becomes(api: Recorder, name: str, status: str) -> None:
    """Wait for it, and record it; of the results the last one's code and output."""
    state = api.until(f"/containers/{name}/json", lambda found: found["State"]["Health"]["Status"] == status)[
        "State"
    ]
    last = state["Health"]["Log"][-1]
    api.note(f"{name} is {status}", [last["ExitCode"], last["Output"], sorted(last)])
    listed = api.need("GET", f"/containers/json?all=1&filters={_filters(name=[name])}").json()
    api.note(f"{name} is {status}, listed", listed[0]["Status"])


def sick_and_well(api: Recorder) -> None:
    test = "echo $A in $(pwd) as $(id -un); test -e /tmp/well"
    api.create(
        "box",
        Cmd=["sleep", "1000"],
        Env=["A=b"],
        User="nobody",
        WorkingDir="/tmp",
        Healthcheck=_check("CMD-SHELL", test),
    )
    api.get("before the start", "/containers/box/json")
    api.post("start", "/containers/box/start")
    api.note("just started", _health(api, "box"))
    _becomes(api, "box", "unhealthy")
    api.daemon.docker("exec", "box", "touch", "/tmp/well")
    _becomes(api, "box", "healthy")
    api.until("/containers/box/json", lambda found: len(found["State"]["Health"]["Log"]) == 5)
    api.post("pause", "/containers/box/pause")
    api.note("paused", _health(api, "box")["Status"])
    api.post("unpause", "/containers/box/unpause")
    api.note("unpaused", _health(api, "box")["Status"])
    api.until("/containers/box/json", lambda found: found["State"]["Health"]["Status"] == "healthy")
    api.post("kill", "/containers/box/kill")
    api.note("killed", _health(api, "box")["Status"])
    api.post("start again", "/containers/box/start")
    again = _health(api, "box")
    api.note("started again", [again["Status"], again["FailingStreak"], len(again["Log"])])


def kinds(api: Recorder) -> None:
    """What is run, and what of it counts as failing."""
    for name, check in {
        "words": _check("CMD", "test", "-d", "/etc"),
        "missing": _check("CMD", "no-such-program"),
        "slow": _check("CMD", "sleep", "60", Timeout=3 * _TENTH),
        "chatty": _check("CMD-SHELL", "head -c 5000 /dev/zero | tr '\\0' x"),
    }.items():
        api.run(name, "sleep", "1000", Healthcheck=check)
    for name, status in {
        "words": "healthy",
        "missing": "unhealthy",
        "slow": "unhealthy",
        "chatty": "healthy",
    }.items():
        _becomes(api, name, status)


def start_period(api: Recorder) -> None:
    """Failures do not count in it; it ends with the first success."""
    check = _check("CMD", "test", "-e", "/well", StartPeriod=600 * 10 * _TENTH, Retries=1)
    api.run("box", "sleep", "1000", Healthcheck=check)
    api.until("/containers/box/json", lambda found: len(found["State"]["Health"]["Log"]) > 2)
    health = _health(api, "box")
    api.note("failing at first", [health["Status"], health["FailingStreak"]])
    api.daemon.docker("exec", "box", "touch", "/well")
    _becomes(api, "box", "healthy")
    api.daemon.docker("exec", "box", "rm", "/well")
    _becomes(api, "box", "unhealthy")


def no_check(api: Recorder) -> None:
    for name, check in {
        "none": _check("NONE"),
        "unknown": _check("PING", "localhost"),
        "empty": _check(),
        "never": {},
    }.items():
        api.run(name, "sleep", "1000", Healthcheck=check)
        api.get(name, f"/containers/{name}/json")
    time.sleep(0.5)
    for name in ("none", "unknown", "empty", "never"):
        api.note(f"health of {name}", _health(api, name))


def refused(api: Recorder) -> None:
    for key, value in {
        "Interval": 5,
        "Timeout": 999_999,
        "StartPeriod": -1,
        "Retries": -1,
        "Test": "true",
    }.items():
        body = {"Image": "busybox", "Cmd": ["true"], "Healthcheck": _check("CMD", "true") | {key: value}}
        api.post(f"{key} {value}", "/containers/create", body)


def filters(api: Recorder) -> None:
    api.run("well", "sleep", "1000", Healthcheck=_check("CMD", "true"))
    api.run("sick", "sleep", "1000", Healthcheck=_check("CMD", "false"))
    api.run("new", "sleep", "1000", Healthcheck=_check("CMD", "true", Interval=6000 * _TENTH))
    api.run("plain", "sleep", "1000")
    _becomes(api, "well", "healthy")
    _becomes(api, "sick", "unhealthy")
    for health in ("healthy", "unhealthy", "starting", "none", "ill"):
        api.get(
            health,
            f"/containers/json?filters={_filters(health=[health])}",
            read=lambda body: sorted(entry["Names"][0] for entry in json.loads(body)),
        )


def events(api: Recorder) -> None:
    since = time.time()
    api.run("box", "sleep", "1000", Healthcheck=_check("CMD-SHELL", "test  -e /well", Retries=1))
    _becomes(api, "box", "unhealthy")
    api.daemon.docker("exec", "box", "touch", "/well")
    _becomes(api, "box", "healthy")
    wanted = _filters(container=["box"], event=["health_status"])
    url = f"/events?since={since:.9f}&until={time.time():.9f}&filters={wanted}"
    api.get("health_status", url)
    wanted = _filters(container=["box"], event=["exec_create", "exec_start", "exec_die"])
    url = f"/events?since={since:.9f}&until={time.time():.9f}&filters={wanted}"
    lines = api.need("GET", url).body.decode().splitlines()[:3]
    found = [json.loads(line) for line in lines]
    for event in found:
        event["Actor"]["Attributes"]["execID"] = ""
    api.note("of the first check", found)


def inherited(api: Recorder) -> None:
    """What a container does not say of its check comes from its image."""
    dockerfile = "FROM busybox\nHEALTHCHECK --interval=200ms --retries=2 CMD false\n"
    api.daemon.docker("build", "-q", "-t", "checked", "-", input=dockerfile)
    for name, check in {
        "as-it-is": None,
        "slower": {"Interval": 3 * _TENTH},
        "off": {"Test": ["NONE"]},
    }.items():
        api.run(name, "sleep", "1000", Image="checked", Healthcheck=check)
        config = api.need("GET", f"/containers/{name}/json").json()["Config"]
        api.note(f"check of {name}", config["Healthcheck"])
    _becomes(api, "as-it-is", "unhealthy")
    _becomes(api, "slower", "unhealthy")
    api.note("health of off", _health(api, "off"))
