"""From create to rm, with everything that can happen between, on the engine as root."""

from __future__ import annotations

import concurrent.futures
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.daemons import Daemon
from tests.support.http import Response
from tests.support.room import wait_until

SLEEP = {"Image": "busybox", "Cmd": ["sleep", "1000"]}


def create(lab: Daemon, name: str = "", **body: Any) -> Response:
    return lab.http.call("POST", f"/containers/create?name={name}", {**SLEEP, **body})


def started(lab: Daemon, name: str, **body: Any) -> None:
    made = create(lab, name, **body)
    assert made.status == 201, made.body
    begun = lab.http.call("POST", f"/containers/{name}/start")
    assert begun.status == 204, begun.body


def state(lab: Daemon, name: str) -> dict[str, Any]:
    found: dict[str, Any] = lab.http.call("GET", f"/containers/{name}/json").json()["State"]
    return found


def becomes(lab: Daemon, name: str, status: str) -> dict[str, Any]:
    for _ in wait_until(15):
        if state(lab, name)["Status"] == status:
            return state(lab, name)
    raise AssertionError(f"{name} is {state(lab, name)}, not {status}")


def test_a_name_is_given_once_however_many_ask_for_it(lab: Daemon) -> None:
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: create(lab, "wanted"), range(20)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 19
    owner = next(answer.json()["Id"] for answer in answers if answer.status == 201)
    refused = next(answer.json()["message"] for answer in answers if answer.status == 409)
    assert refused == (
        f'Conflict. The container name "/wanted" is already in use by container "{owner}". You have to '
        "remove (or rename) that container to be able to reuse that name."
    )
    assert [one["Id"] for one in lab.http.call("GET", "/containers/json?all=1").json()] == [owner]


def test_a_container_is_started_once_however_many_ask_for_it(lab: Daemon) -> None:
    create(lab, "once")
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: lab.http.call("POST", "/containers/once/start").status, range(10)))
    assert sorted(answers) == [204] + [304] * 9


def test_a_hundred_at_once(lab: Daemon) -> None:
    def run(number: int) -> tuple[int, bytes]:
        body = {"Image": "busybox", "Cmd": ["sh", "-c", f"echo {number}; exit {number}"]}
        made = lab.http.call("POST", "/containers/create", body).json()["Id"]
        lab.http.call("POST", f"/containers/{made}/start")
        code = lab.http.call("POST", f"/containers/{made}/wait").json()["StatusCode"]
        logged = lab.http.call("GET", f"/containers/{made}/logs?stdout=1").body[8:]
        lab.http.call("DELETE", f"/containers/{made}")
        return code, logged

    with concurrent.futures.ThreadPoolExecutor(25) as pool:
        results = list(pool.map(run, range(100)))
    assert results == [(number, f"{number}\n".encode()) for number in range(100)]
    assert lab.http.call("GET", "/containers/json?all=1").json() == []


def test_rename(lab: Daemon) -> None:
    create(lab, "first")
    create(lab, "second")
    taken = lab.http.call("POST", "/containers/first/rename?name=second")
    assert (taken.status, "is already in use" in taken.json()["message"]) == (409, True)
    assert lab.http.call("POST", "/containers/first/rename?name=a%2Fb").status == 400
    assert lab.http.call("POST", "/containers/first/rename").status == 400
    assert lab.http.call("POST", "/containers/first/rename?name=third").status == 204
    assert lab.http.call("GET", "/containers/first/json").status == 404
    assert create(lab, "first").status == 201


@pytest.mark.parametrize(
    ("command", "timeout", "code", "at_most"),
    [
        ("trap 'exit 5' TERM; while :; do sleep 0.05; done", 10, 5, 5),
        ("trap '' TERM; while :; do sleep 0.05; done", 1, 137, 5),
        ("trap '' TERM; while :; do sleep 0.05; done", 0, 137, 3),
    ],
)
def test_stop(lab: Daemon, command: str, timeout: int, code: int, at_most: float) -> None:
    started(lab, "stopped", Cmd=["sh", "-c", f"echo ready; {command}"])
    for _ in wait_until(10):
        if b"ready" in lab.http.call("GET", "/containers/stopped/logs?stdout=1").body:
            break
    begun = time.monotonic()
    assert lab.http.call("POST", f"/containers/stopped/stop?t={timeout}").status == 204
    assert time.monotonic() - begun < at_most
    assert state(lab, "stopped")["ExitCode"] == code
    assert lab.http.call("POST", "/containers/stopped/stop").status == 304


def test_stop_with_the_images_or_containers_own_signal_and_time(lab: Daemon) -> None:
    command = "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done"
    started(lab, "own", Cmd=["sh", "-c", command], StopSignal="SIGUSR1", StopTimeout=20)
    for _ in wait_until(10):
        if b"ready" in lab.http.call("GET", "/containers/own/logs?stdout=1").body:
            break
    lab.http.call("POST", "/containers/own/stop")
    assert state(lab, "own")["ExitCode"] == 7


def test_kill(lab: Daemon) -> None:
    started(lab, "shot")
    assert lab.http.call("POST", "/containers/shot/kill?signal=NOSUCH").status == 400
    assert (
        lab.http.call("POST", "/containers/shot/kill?signal=SIGHUP").status == 204
    )  # sleep is process 1: ignored
    assert state(lab, "shot")["Running"]
    assert lab.http.call("POST", "/containers/shot/kill").status == 204
    assert becomes(lab, "shot", "exited")["ExitCode"] == 137
    refused = lab.http.call("POST", "/containers/shot/kill")
    assert (refused.status, "is not running" in refused.json()["message"]) == (409, True)


def test_pause(lab: Daemon) -> None:
    started(lab, "still", Cmd=["sh", "-c", "while :; do echo; sleep 0.01; done"])
    assert lab.http.call("POST", "/containers/still/pause").status == 204
    assert state(lab, "still")["Status"] == "paused"
    time.sleep(0.2)
    before = lab.http.call("GET", "/containers/still/logs?stdout=1").body
    time.sleep(0.2)
    assert lab.http.call("GET", "/containers/still/logs?stdout=1").body == before
    assert lab.http.call("POST", "/containers/still/pause").status == 409
    assert lab.http.call("POST", "/containers/still/exec", {"Cmd": ["true"]}).status == 409
    assert lab.http.call("POST", "/containers/still/start").status == 409
    assert lab.http.call("DELETE", "/containers/still").status == 409
    assert lab.http.call("POST", "/containers/still/unpause").status == 204
    assert lab.http.call("POST", "/containers/still/unpause").status == 409
    lab.http.call("POST", "/containers/still/pause")
    assert lab.http.call("POST", "/containers/still/stop?t=1").status == 204, "a paused one is stopped too"
    lab.http.call("POST", "/containers/still/start")
    lab.http.call("POST", "/containers/still/pause")
    assert lab.http.call("DELETE", "/containers/still?force=1").status == 204


@pytest.mark.parametrize(("condition", "before"), [("not-running", 0), ("next-exit", 3), ("removed", 3)])
def test_wait(lab: Daemon, condition: str, before: int) -> None:
    """On a container that was never started: the first answers at once, the others when it happens."""
    create(lab, "awaited", Cmd=["sh", "-c", "exit 3"])
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lab.http.call, "POST", f"/containers/awaited/wait?condition={condition}")
        time.sleep(0.2)
        lab.http.call("POST", "/containers/awaited/start")
        becomes(lab, "awaited", "exited")
        assert waiting.done() == (condition == "not-running") or condition == "next-exit"
        lab.http.call("DELETE", "/containers/awaited")
        assert waiting.result(10).json() == {"StatusCode": before}


def test_wait_for_what_is_none(lab: Daemon) -> None:
    create(lab, "awaited")
    assert lab.http.call("POST", "/containers/awaited/wait?condition=bored").status == 400
    assert lab.http.call("POST", "/containers/nobody/wait").status == 404


def test_removed_when_it_ends(lab: Daemon) -> None:
    made = create(lab, "brief", Cmd=["true"], Volumes={"/data": {}}, HostConfig={"AutoRemove": True}).json()[
        "Id"
    ]
    assert len(lab.http.call("GET", "/volumes").json()["Volumes"]) == 1
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lab.http.call, "POST", "/containers/brief/wait?condition=removed")
        time.sleep(0.2)
        lab.http.call("POST", "/containers/brief/start")
        assert waiting.result(10).json()["StatusCode"] == 0
    assert lab.http.call("GET", f"/containers/{made}/json").status == 404
    assert lab.http.call("GET", "/volumes").json()["Volumes"] in (None, [])
    assert not (lab.root / "containers" / made).exists()


def test_a_start_that_fails_leaves_a_container_to_look_at(lab: Daemon) -> None:
    create(lab, "wrong", Cmd=["nosuch"])
    refused = lab.http.call("POST", "/containers/wrong/start")
    assert refused.status == 400
    assert 'exec: "nosuch": executable file not found in $PATH' in refused.json()["message"]
    found = state(lab, "wrong")
    assert (found["Status"], found["ExitCode"]) == ("created", 127)
    assert found["Error"] == refused.json()["message"]
    create(lab, "gone", Cmd=["nosuch"], HostConfig={"AutoRemove": True})
    lab.http.call("POST", "/containers/gone/start")
    for _ in wait_until(5):
        if lab.http.call("GET", "/containers/gone/json").status == 404:
            return
    raise AssertionError("--rm does not hold for a start that fails")


def test_restart_always(lab: Daemon) -> None:
    started(lab, "again", Cmd=["true"], HostConfig={"RestartPolicy": {"Name": "always"}})
    for _ in wait_until(15):
        if lab.http.call("GET", "/containers/again/json").json()["RestartCount"] >= 2:
            break
    assert lab.http.call("GET", "/containers/again/json").json()["RestartCount"] >= 2
    lab.http.call("POST", "/containers/again/stop")
    assert becomes(lab, "again", "exited")
    count = lab.http.call("GET", "/containers/again/json").json()["RestartCount"]
    time.sleep(1)
    assert lab.http.call("GET", "/containers/again/json").json()["RestartCount"] == count


def test_restart_on_failure_so_many_times(lab: Daemon) -> None:
    policy = {"Name": "on-failure", "MaximumRetryCount": 2}
    started(lab, "fails", Cmd=["sh", "-c", "echo try; exit 1"], HostConfig={"RestartPolicy": policy})
    for _ in wait_until(15):
        if lab.http.call("GET", "/containers/fails/json").json()["RestartCount"] == 2:
            break
    becomes(lab, "fails", "exited")
    assert lab.docker("logs", "fails").stdout == "try\n" * 3
    started(lab, "well", Cmd=["true"], HostConfig={"RestartPolicy": policy})
    becomes(lab, "well", "exited")
    assert lab.http.call("GET", "/containers/well/json").json()["RestartCount"] == 0


def test_restart_by_hand_keeps_the_files(lab: Daemon) -> None:
    started(lab, "files", Cmd=["sh", "-c", "echo run >> /runs; sleep 1000"])
    assert runs(lab, "run\n") == "run\n"  # else it is killed before it wrote
    assert lab.http.call("POST", "/containers/files/restart?t=0").status == 204
    assert runs(lab, "run\nrun\n") == "run\nrun\n"


def runs(lab: Daemon, expected: str) -> str:
    """What the container wrote, once that is as expected or ten seconds are over."""
    for _ in wait_until(10):
        wrote = lab.docker("exec", "files", "cat", "/runs").stdout
        if wrote == expected:
            break
    return wrote


def test_remove(lab: Daemon) -> None:
    started(lab, "busy", Volumes={"/data": {}})
    refused = lab.http.call("DELETE", "/containers/busy")
    assert refused.status == 409
    assert "Stop the container before attempting removal or force remove" in refused.json()["message"]
    assert lab.http.call("DELETE", "/containers/busy?force=1").status == 204
    assert len(lab.http.call("GET", "/volumes").json()["Volumes"]) == 1, "without v its volume stays"
    missing = lab.http.call("DELETE", "/containers/busy")
    assert (missing.status, missing.json()["message"]) == (404, "No such container: busy")


def test_prune(lab: Daemon) -> None:
    started(lab, "runs")
    create(lab, "never")
    create(lab, "kept", Labels={"keep": "yes"})
    pruned = lab.http.call(
        "POST", "/containers/prune?filters=" + quote(json.dumps({"label": ["keep"]}))
    ).json()
    assert len(pruned["ContainersDeleted"]) == 1
    assert len(lab.http.call("POST", "/containers/prune").json()["ContainersDeleted"]) == 1
    assert [one["Names"] for one in lab.http.call("GET", "/containers/json?all=1").json()] == [["/runs"]]
    assert lab.http.call("POST", "/containers/prune").json()["ContainersDeleted"] is None


def test_finding(lab: Daemon) -> None:
    made = create(lab, "findme").json()["Id"]
    for name in (made, made[:12], made[:4], "findme", "/findme".replace("/", "%2F")):
        found = lab.http.call("GET", f"/containers/{name}/json")
        assert found.status == 200 or name.startswith("%2F"), name
    near = lab.http.call("GET", "/containers/findmee/json").json()
    assert (near["message"], near["hint"]) == ("No such container: findmee", "did you mean findme?")


def test_lists_and_filters(lab: Daemon) -> None:
    started(lab, "up", Labels={"tier": "web"}, HostConfig={"Binds": ["data:/data"]})
    started(lab, "done", Cmd=["sh", "-c", "exit 3"])
    becomes(lab, "done", "exited")
    create(lab, "new", Labels={"tier": "db"})

    def names(**filters: list[str]) -> set[str]:
        listed = lab.http.call("GET", f"/containers/json?all=1&filters={quote(json.dumps(filters))}").json()
        return {one["Names"][0][1:] for one in listed}

    assert names() == {"up", "done", "new"}
    assert names(status=["exited", "created"]) == {"done", "new"}
    assert names(exited=["3"]) == {"done"}
    assert names(label=["tier"]) == {"up", "new"}
    assert names(label=["tier=web"]) == {"up"}
    assert names(name=["^/?u"]) == {"up"}
    assert names(name=["("]) == set()
    assert names(ancestor=["busybox"]) == {"up", "done", "new"}
    assert names(ancestor=["nosuch"]) == set()
    assert names(volume=["data"]) == {"up"}
    assert names(network=["bridge"]) == {"up", "done", "new"}
    assert names(before=["done"]) == {"up"}
    assert names(since=["done"]) == {"new"}
    assert [one["Names"] for one in lab.http.call("GET", "/containers/json").json()] == [["/up"]]
    assert [one["Names"] for one in lab.http.call("GET", "/containers/json?limit=1").json()] == [["/new"]]


def test_top(lab: Daemon) -> None:
    started(lab, "parent", Cmd=["sh", "-c", "sleep 999 & wait"])
    wanted = ["sh -c sleep 999 & wait", "sleep 999"]
    for _ in wait_until(5):
        commands = [row[-1] for row in lab.http.call("GET", "/containers/parent/top").json()["Processes"]]
        if commands == wanted:
            break
    assert commands == wanted
    chosen = lab.http.call("GET", "/containers/parent/top?ps_args=-o%20pid,comm").json()
    assert chosen["Titles"] == ["PID", "COMMAND"]
    assert len(chosen["Processes"]) == 2
    assert lab.http.call("GET", "/containers/parent/top?ps_args=--nosuch").status in (400, 500)


def test_nothing_of_a_container_is_left_on_the_machine(lab: Daemon) -> None:
    made = create(lab, "traceless", HostConfig={"Memory": 32 << 20}).json()["Id"]
    lab.http.call("POST", "/containers/traceless/start")
    groups = list(Path("/sys/fs/cgroup").glob(f"**/{made}"))
    assert groups
    lab.http.call("DELETE", "/containers/traceless?force=1")
    for _ in wait_until(5):
        if not any(path.exists() for path in groups):
            break
    assert not any(path.exists() for path in groups)
    assert not (lab.root / "containers" / made).exists()


def test_a_profile_that_forbids_the_start_itself_is_an_error(lab: Daemon) -> None:
    """Docker's daemon waits for ever here."""
    calls = [{"names": ["execve", "exit_group"], "action": "SCMP_ACT_ALLOW"}]
    profile = json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": calls})
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"SecurityOpt": [f"seccomp={profile}"]}}
    made = lab.http.call("POST", "/containers/create", body).json()["Id"]
    started = lab.http.call("POST", f"/containers/{made}/start")
    assert started.status == 500
    assert "before its command was executed" in started.json()["message"]
    assert lab.http.call("DELETE", f"/containers/{made}").status == 204
