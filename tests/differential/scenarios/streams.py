"""Output and input: logs, attach, exec."""

from __future__ import annotations

import re
import socket
import time

from tests.differential.recorder import Recorder, streams, text
from tests.support.http import frames
from tests.support.room import wait_until

_TALK = "echo out1; echo err1 >&2; echo out2; printf 'no newline'"


def logs(api: Recorder) -> None:
    api.finish("box", "sh", "-c", _TALK)
    for query in (
        "stdout=1&stderr=1",
        "stdout=1",
        "stderr=true",
        "stdout=1&tail=1",
        "stdout=1&tail=0",
        "stdout=1&tail=all",
        "stdout=1&tail=-1",
        "stdout=1&tail=many",
        "stdout=1&timestamps=1",
        "stdout=1&stderr=1&follow=1",
        "stdout=1&since=1",
        "stdout=1&since=2000000000000",
        "stdout=1&until=1",
        "stdout=1&since=5m",
        "stdout=1&since=yesterday",
    ):
        api.get(query, f"/containers/box/logs?{query}", read=streams)
    api.get("no stream", "/containers/box/logs")
    api.create("made")
    api.get("never started", "/containers/made/logs?stdout=1", read=streams)


def logs_of_a_terminal(api: Recorder) -> None:
    api.finish("box", "sh", "-c", _TALK, Tty=True)
    api.get("all", "/containers/box/logs?stdout=1&stderr=1", read=text)
    api.get("tail", "/containers/box/logs?stdout=1&tail=1&timestamps=1", read=text)


def logs_cut_by_time(api: Recorder) -> None:
    """Only the lines on the asked side of a moment between two lines are given."""
    api.finish("box", "sh", "-c", "echo early; sleep 0.4; echo late")
    stamped = api.need("GET", "/containers/box/logs?stdout=1&timestamps=1")
    late = next(line for line in text(dict(frames(stamped.body))[1]).splitlines() if "late" in line)
    from datetime import datetime

    moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d*Z", r"\1+00:00", late.split()[0])).timestamp() - 0.2
    api.get("since", f"/containers/box/logs?stdout=1&since={moment:.6f}", read=streams)
    api.get("until", f"/containers/box/logs?stdout=1&until={moment:.6f}", read=streams)


def logs_across_restarts(api: Recorder) -> None:
    api.finish("box", "sh", "-c", "echo once more")
    api.need("POST", "/containers/box/start")
    api.need("POST", "/containers/box/wait")
    api.get("both", "/containers/box/logs?stdout=1", read=streams)


def logs_followed(api: Recorder) -> None:
    api.run("box", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done")
    api.get("until the end", "/containers/box/logs?stdout=1&follow=1", read=streams)


def long_lines(api: Recorder) -> None:
    api.finish("box", "sh", "-c", "yes x | tr -d '\\n' | head -c 40000; echo; echo end")
    body = api.need("GET", "/containers/box/logs?stdout=1").body
    api.note("whole", [[number, len(payload)] for number, payload in frames(body)])
    body = api.need("GET", "/containers/box/logs?stdout=1&tail=2").body
    api.note("tail", [[number, len(payload)] for number, payload in frames(body)])


def attach(api: Recorder) -> None:
    api.create(
        "box", Cmd=["sh", "-c", "cat; echo done >&2"], OpenStdin=True, StdinOnce=True, AttachStdin=True
    )
    with api.stream("/containers/box/attach?stream=1&stdin=1&stdout=1&stderr=1") as stream:
        api.note("head", [stream.status, stream.headers])
        api.need("POST", "/containers/box/start")
        stream.send(b"typed\n")
        api.note("echoed", streams(stream.read_until(b"typed\n")))
        stream.send(b"more\n")
        stream.close_stdin()
        api.note("rest", streams(stream.read_all()))
    api.post("ended with its input", "/containers/box/wait")
    with api.stream("/containers/box/attach?logs=1&stdout=1&stderr=1") as stream:
        api.note("logs afterwards", streams(stream.read_all()))
    api.post("without hijacking", "/containers/box/attach?logs=1&stdout=1", read=streams)


def attach_to_a_terminal(api: Recorder) -> None:
    api.create("box", Cmd=["sh", "-c", "stty size; read line; echo got $line"], Tty=True, OpenStdin=True)
    with api.stream("/containers/box/attach?stream=1&stdin=1&stdout=1&stderr=1") as stream:
        api.note("head", [stream.status, stream.headers])
        api.need("POST", "/containers/box/start")
        api.note("first", text(stream.read_until(b"\n")))
        api.post("resize", "/containers/box/resize?h=10&w=40")
        stream.send(b"line\n")
        api.note("rest", text(stream.read_all()))
    api.post("wait", "/containers/box/wait")
    api.post("resize when ended", "/containers/box/resize?h=10&w=40")
    api.post("resize to words", "/containers/box/resize?h=high&w=wide")


def detach_keys(api: Recorder) -> None:
    api.run("box", "cat", Tty=True, OpenStdin=True)
    with api.stream("/containers/box/attach?stream=1&stdin=1&stdout=1&detachKeys=ctrl-x,q") as stream:
        stream.send(b"\x18")
        time.sleep(0.1)
        stream.send(b"q")
        api.note("after the keys", text(stream.read_all()))
    api.note("still running", api.need("GET", "/containers/box/json").json()["State"]["Status"])
    api.post("keys that are none", "/containers/box/attach?stream=1&stdout=1&detachKeys=hyper-x")


def attach_refused(api: Recorder) -> None:
    api.run("box", "sleep", "1000")
    api.need("POST", "/containers/box/pause")
    api.post("paused", "/containers/box/attach?stream=1&stdout=1")
    api.need("POST", "/containers/box/unpause")


def exec_in(api: Recorder) -> None:
    api.run("box", "sleep", "1000", Env=["FROM=container"])
    for name, config in {
        "echo": {"Cmd": ["echo", "hello"]},
        "both-streams": {"Cmd": ["sh", "-c", "echo out; echo err >&2; exit 3"]},
        "missing": {"Cmd": ["no-such-program"]},
        "not-executable": {"Cmd": ["/etc/passwd"]},
        "environment": {"Cmd": ["sh", "-c", "echo $FROM $GIVEN"], "Env": ["GIVEN=exec"]},
        "user": {"Cmd": ["id"], "User": "daemon"},
        "directory": {"Cmd": ["pwd"], "WorkingDir": "/tmp"},
        "privileged": {"Cmd": ["grep", "CapEff", "/proc/self/status"], "Privileged": False},
        "unknown-user": {"Cmd": ["id"], "User": "nobody-knows"},
    }.items():
        given = {"AttachStdout": True, "AttachStderr": True, **config}
        made = api.post(f"{name}: create", "/containers/box/exec", given)
        identifier = api.know(made.json()["Id"], name)
        if name == "echo":
            api.get("before start", f"/exec/{identifier}/json")
        with api.stream(f"/exec/{identifier}/start", {"Detach": False, "Tty": False}) as stream:
            api.note(f"{name}: start", [stream.status, stream.headers])
            body = stream.read_all()
            api.note(f"{name}: output", streams(body) if stream.status in (101, 200) else text(body))
        inspected = api.until(f"/exec/{identifier}/json", lambda state: not state["Running"])
        api.note(f"{name}: exit code", inspected["ExitCode"])
        if name == "both-streams":
            api.get("after its end", f"/exec/{identifier}/json")
            api.post("start again", f"/exec/{identifier}/start", {})


def exec_with_input(api: Recorder) -> None:
    api.run("box", "sleep", "1000")
    for name, tty in {"framed": False, "terminal": True}.items():
        config = {"Cmd": ["sh", "-c", "read a; echo got $a"], "Tty": tty}
        attached = {"AttachStdin": True, "AttachStdout": True, "AttachStderr": True}
        made = api.need("POST", "/containers/box/exec", config | attached)
        with api.stream(f"/exec/{made.json()['Id']}/start", {"Tty": tty}) as stream:
            if tty:
                api.post("resize", f"/exec/{api.know(made.json()['Id'], name)}/resize?h=5&w=5")
            stream.send(b"line\n")
            received = stream.read_all()
            api.note(name, text(received) if tty else streams(received))


def exec_input_that_ends(api: Recorder) -> None:
    api.run("box", "sleep", "1000")
    attached = {"Cmd": ["wc", "-c"], "AttachStdin": True, "AttachStdout": True}
    made = api.need("POST", "/containers/box/exec", attached)
    with api.stream(f"/exec/{made.json()['Id']}/start", {}) as stream:
        stream.send(b"x" * 100_000)
        stream.close_stdin()
        api.note("counted", streams(stream.read_all()))


def exec_detached(api: Recorder) -> None:
    api.run("box", "sleep", "1000")
    made = api.need("POST", "/containers/box/exec", {"Cmd": ["touch", "/made"]})
    api.post("start", f"/exec/{made.json()['Id']}/start", {"Detach": True})
    api.until(f"/exec/{made.json()['Id']}/json", lambda state: not state["Running"])
    api.note("done", [change["Path"] for change in api.need("GET", "/containers/box/changes").json()])


def exec_refused(api: Recorder) -> None:
    api.create("box", Cmd=["sleep", "1000"])
    api.post("before start", "/containers/box/exec", {"Cmd": ["true"]})
    api.need("POST", "/containers/box/start")
    api.post("no command", "/containers/box/exec", {"Cmd": []})
    api.post("no JSON", "/containers/box/exec", b"{", Content_Type="application/json")
    api.post("unknown: start", "/exec/nobody/start", {})
    api.get("unknown: inspect", "/exec/nobody/json")
    api.post("unknown: resize", "/exec/nobody/resize?h=1&w=1")
    made = api.need("POST", "/containers/box/exec", {"Cmd": ["true"]}).json()["Id"]
    api.know(made, "exec")
    api.need("POST", "/containers/box/kill")
    api.need("POST", "/containers/box/wait")
    api.post("container ended: start", f"/exec/{made}/start", {"Detach": True})
    api.post("container ended: create", "/containers/box/exec", {"Cmd": ["true"]})


def input_without_a_reader(api: Recorder) -> None:
    """A client that goes away does not end a container whose stdin stays open."""
    api.run("box", "cat", OpenStdin=True)
    with api.stream("/containers/box/attach?stream=1&stdin=1&stdout=1") as stream:
        stream.send(b"one\n")
        api.note("first", streams(stream.read_until(b"one\n")))
        stream.connection.shutdown(socket.SHUT_RDWR)
    for _ in wait_until(0.3):
        status = api.need("GET", "/containers/box/json").json()["State"]["Status"]
    api.note("status", status)


def log_details(api: Recorder) -> None:
    options = {"labels": "a,missing", "env": "E", "env-regex": "^OTHER", "tag": "{{.Name}} of {{.ImageName}}"}
    logs = {"LogConfig": {"Type": "json-file", "Config": options}}
    config = {"Labels": {"a": "x y&z=", "b": "2"}, "Env": ["E=1", "OTHER_1=2", "NOT=3"], "HostConfig": logs}
    api.finish("box", "sh", "-c", "echo one; echo two >&2", **config)
    api.finish("plain", "echo", "three")
    for name in ("box", "plain"):
        api.get(f"{name} with details", f"/containers/{name}/logs?stdout=1&stderr=1&details=1", streams)
        url = f"/containers/{name}/logs?stdout=1&stderr=1&details=1&timestamps=1"
        api.get(f"{name} with details and times", url, streams)
        api.get(f"{name} without", f"/containers/{name}/logs?stdout=1&stderr=1", streams)


def rotated_logs(api: Recorder) -> None:
    for name, options in {
        "three": {"max-size": "1k", "max-file": "3"},
        "one": {"max-size": "1k"},
        "compressed": {"max-size": "1k", "max-file": "3", "compress": "true"},
    }.items():
        logs = {"LogConfig": {"Type": "json-file", "Config": options}}
        api.finish(name, "sh", "-c", "for i in $(seq 100 200); do echo line $i; done", HostConfig=logs)
        api.get(name, f"/containers/{name}/logs?stdout=1", streams)
        api.get(f"the end of {name}", f"/containers/{name}/logs?stdout=1&tail=20", streams)


def log_drivers(api: Recorder) -> None:
    for name, kind, options in (
        ("unknown", "paper", {}),
        ("option", "json-file", {"colour": "blue"}),
        ("local option", "local", {"labels": "a"}),
        ("bad size", "json-file", {"max-size": "0"}),
        ("bad size in words", "json-file", {"max-size": "big"}),
        ("bad files", "json-file", {"max-size": "1k", "max-file": "0"}),
        ("bad compressed", "json-file", {"max-size": "1k", "compress": "true"}),
    ):
        logs = {"LogConfig": {"Type": kind, "Config": options}}
        created = api.post(
            name, "/containers/create", {"Image": "busybox", "Cmd": ["true"], "HostConfig": logs}
        )
        if created.status == 201:
            api.post(f"{name}: start", f"/containers/{created.json()['Id']}/start")
    for kind in ("none", "local"):
        api.finish(kind, "echo", "hello", HostConfig={"LogConfig": {"Type": kind, "Config": {}}})
        api.get(f"logs of {kind}", f"/containers/{kind}/logs?stdout=1", streams)
        api.note(f"path of {kind}", api.need("GET", f"/containers/{kind}/json").json()["LogPath"])
