"""A container's life through the API: started, watched, ended, removed; and each verb at the wrong moment."""

from __future__ import annotations

import json
import threading
import time
from typing import Any
from urllib.parse import quote

from tests.differential.recorder import Recorder, shape_of_json, sorted_by

_VERBS = ("start", "stop", "restart", "kill", "pause", "unpause", "wait", "resize?h=1&w=1", "rename?name=new")


def unknown_container(api: Recorder) -> None:
    for verb in _VERBS:
        api.post(verb, f"/containers/nobody/{verb}")
    for part in ("json", "top", "logs?stdout=1", "changes", "export", "stats?stream=0", "archive?path=/"):
        api.get(part, f"/containers/nobody/{part}")
    api.post("attach", "/containers/nobody/attach?stdout=1")
    api.post("exec", "/containers/nobody/exec", {"Cmd": ["true"]})
    api.post("update", "/containers/nobody/update", {})
    api.post("commit", "/commit?container=nobody")
    api.delete("remove", "/containers/nobody")


def whole_life(api: Recorder) -> None:
    api.create("box", Cmd=["sleep", "1000"])
    api.post("start", "/containers/box/start")
    api.post("start again", "/containers/box/start")
    api.get("running", "/containers/box/json")
    api.delete("remove while running", "/containers/box")
    api.post("kill", "/containers/box/kill")
    api.post("wait", "/containers/box/wait")
    api.get("killed", "/containers/box/json")
    api.post("kill what has ended", "/containers/box/kill")
    api.post("stop what has ended", "/containers/box/stop")
    api.post("restart", "/containers/box/restart?t=0")
    api.post("stop", "/containers/box/stop?t=0")
    api.get("stopped", "/containers/box/json")
    api.delete("remove", "/containers/box")
    api.delete("remove again", "/containers/box")


def exit_codes(api: Recorder) -> None:
    for name, command in {
        "zero": "true",
        "three": "exit 3",
        "signal": "kill -TERM $$",
        "killed": "kill -KILL $$",
    }.items():
        api.run(name, "sh", "-c", f"sh -c '{command}'; exit $?")
        api.post(f"wait for {name}", f"/containers/{name}/wait")
        api.note(f"state of {name}", api.need("GET", f"/containers/{name}/json").json()["State"])


def programs_that_do_not_start(api: Recorder) -> None:
    for name, config in {
        "missing": {"Cmd": ["no-such-program"]},
        "missing-path": {"Cmd": ["/no/such/program"]},
        "not-executable": {"Cmd": ["/etc/passwd"]},
        "directory": {"Cmd": ["/etc"]},
        "user": {"Cmd": ["true"], "User": "nobody-knows"},
        "group": {"Cmd": ["true"], "User": "root:nobody-knows"},
        "user-out-of-range": {"Cmd": ["true"], "User": "99999999999"},
        "bind": {"Cmd": ["true"], "HostConfig": {"Binds": ["/etc/passwd:/etc"]}},
    }.items():
        api.create(name, **config)
        api.post(f"start {name}", f"/containers/{name}/start")
        api.note(f"state of {name}", api.need("GET", f"/containers/{name}/json").json()["State"])


def signals(api: Recorder) -> None:
    api.run("box", "sh", "-c", "trap 'echo got it; exit 7' USR1; while :; do sleep 0.1; done")
    for signal in ("SIGNOTHING", "0", "-1", "100", "usr2x"):
        api.post(f"signal {signal}", f"/containers/box/kill?signal={signal}")
    api.until("/containers/box/top", lambda top: len(top["Processes"]) > 1)
    api.post("signal USR1", "/containers/box/kill?signal=USR1")
    api.post("wait", "/containers/box/wait")
    api.post("stop with a bad time", "/containers/box/stop?t=soon")
    api.run("term", "sh", "-c", "trap 'exit 9' QUIT; while :; do sleep 0.1; done", StopSignal="SIGQUIT")
    api.until("/containers/term/top", lambda top: len(top["Processes"]) > 1)
    api.post("stop with the container's own signal", "/containers/term/stop?t=10")
    api.post("wait after it", "/containers/term/wait")


def waiting(api: Recorder) -> None:
    api.create("box", Cmd=["sh", "-c", "exit 4"])
    api.post("not started", "/containers/box/wait")
    api.post("unknown condition", "/containers/box/wait?condition=someday")
    waiter = threading.Thread(
        target=lambda: api.post("next exit", "/containers/box/wait?condition=next-exit")
    )
    waiter.start()
    waiter.join(0.3)
    api.need("POST", "/containers/box/start")
    waiter.join(30)
    api.post("ended", "/containers/box/wait?condition=not-running")
    waiter = threading.Thread(target=lambda: api.post("removed", "/containers/box/wait?condition=removed"))
    waiter.start()
    waiter.join(0.3)
    api.need("DELETE", "/containers/box")
    waiter.join(30)
    api.create("made", Cmd=["true"])
    waiter = threading.Thread(
        target=lambda: api.post("removed before its exit", "/containers/made/wait?condition=next-exit")
    )
    waiter.start()
    waiter.join(0.3)
    api.need("DELETE", "/containers/made")
    waiter.join(30)


def removed_by_itself(api: Recorder) -> None:
    api.create("box", Cmd=["true"], HostConfig={"AutoRemove": True})
    waiter = threading.Thread(target=lambda: api.post("wait", "/containers/box/wait?condition=removed"))
    waiter.start()
    waiter.join(0.3)
    api.need("POST", "/containers/box/start")
    waiter.join(30)
    api.get("inspect", "/containers/box/json")


def renaming(api: Recorder) -> None:
    api.create("one")
    api.create("two")
    api.post("to a free name", "/containers/one/rename?name=uno")
    api.get("by the old name", "/containers/one/json")
    api.note("new name", api.need("GET", "/containers/uno/json").json()["Name"])
    api.post("to a taken name", "/containers/uno/rename?name=two")
    api.post("to its own name", "/containers/uno/rename?name=uno")
    api.post("to nothing", "/containers/uno/rename?name=")
    api.post("to a bad name", "/containers/uno/rename?name=-")


def pausing(api: Recorder) -> None:
    api.create("box", Cmd=["sleep", "1000"])
    api.post("pause before start", "/containers/box/pause")
    api.need("POST", "/containers/box/start")
    api.post("unpause while running", "/containers/box/unpause")
    api.post("pause", "/containers/box/pause")
    api.post("pause again", "/containers/box/pause")
    api.note("state", api.need("GET", "/containers/box/json").json()["State"])
    api.get("listed", "/containers/json")
    api.post("start while paused", "/containers/box/start")
    api.post("exec while paused", "/containers/box/exec", {"Cmd": ["true"]})
    api.post("unpause", "/containers/box/unpause")


def updating(api: Recorder) -> None:
    api.run("box", "sleep", "1000", HostConfig={"Memory": 67108864})
    api.post("limits", "/containers/box/update", {"Memory": 134217728, "MemorySwap": -1, "CpuShares": 512})
    api.post("restart policy", "/containers/box/update", {"RestartPolicy": {"Name": "unless-stopped"}})
    api.note("host config", api.need("GET", "/containers/box/json").json()["HostConfig"])
    api.post("too little memory", "/containers/box/update", {"Memory": 1000})
    api.post("unknown policy", "/containers/box/update", {"RestartPolicy": {"Name": "sometimes"}})
    api.post("no JSON", "/containers/box/update", b"{", Content_Type="application/json")
    api.create("passing", HostConfig={"AutoRemove": True})
    for policy in ("always", "no"):
        api.post(
            f"{policy} and AutoRemove", "/containers/passing/update", {"RestartPolicy": {"Name": policy}}
        )


def updating_field_by_field(api: Recorder) -> None:
    """Of a container that runs and of one that does not."""
    api.run("runs", "sleep", "1000", HostConfig={"Memory": 67108864})
    api.create("made")
    weighed = {"Image": "busybox", "HostConfig": {"BlkioWeight": 300}}
    api.post("made with a weight", "/containers/create?name=weighed", weighed)
    api.note("its weight", api.need("GET", "/containers/weighed/json").json()["HostConfig"]["BlkioWeight"])
    for name, body in {
        "nothing": {},
        "shares": {"CpuShares": 300},
        "quota": {"CpuPeriod": 50000, "CpuQuota": 25000},
        "period too short": {"CpuPeriod": 10},
        "quota too small": {"CpuQuota": 10},
        "processors beside a quota": {"NanoCpus": 500000000},
        "too many processors": {"NanoCpus": 10**15},
        "cpuset": {"CpusetCpus": "0"},
        "cpuset that is none": {"CpusetCpus": "1-"},
        "cpuset too large": {"CpusetCpus": "0-4000"},
        "memory nodes": {"CpusetMems": "0"},
        "memory over swap": {"Memory": 536870912},
        "memory and swap": {"Memory": 100663296, "MemorySwap": 201326592},
        "reservation": {"MemoryReservation": 33554432},
        "reservation over memory": {"MemoryReservation": 10**9},
        "processes": {"PidsLimit": 40},
        "any number of processes": {"PidsLimit": -1},
        "weight out of range": {"BlkioWeight": 3},
        "weight": {"BlkioWeight": 300},
        "policy": {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}},
        "policy with a count": {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 3}},
        "negative count": {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -1}},
        "no policy": {"RestartPolicy": {"Name": "no"}},
        "wrong type": {"Memory": "1g"},
        "names in small letters": {"memory": 109051904, "memoryswap": -1},
        "swap below memory": {"MemorySwap": 50000000},
    }.items():
        for container in ("runs", "made"):
            api.post(f"{name}, {container}", f"/containers/{container}/update", body)
            shown = api.need("GET", f"/containers/{container}/json").json()["HostConfig"]
            keys = ("Memory", "MemorySwap", "MemoryReservation", "NanoCpus", "PidsLimit", "BlkioWeight")
            api.note(
                f"{container} after {name}",
                {
                    key: shown[key]
                    for key in (*keys, "RestartPolicy", "CpuShares", "CpuPeriod", "CpuQuota", "CpusetCpus")
                },
            )


def processes(api: Recorder) -> None:
    api.create("box", Cmd=["sleep", "1000"])
    api.get("before start", "/containers/box/top")
    api.need("POST", "/containers/box/start")
    while b"runc init" in api.need("GET", "/containers/box/top").body:  # not yet what it will be
        pass
    api.get("columns asked for", "/containers/box/top?ps_args=" + quote("-o pid,args"), read=_without_pids)
    api.note("columns", api.need("GET", "/containers/box/top").json()["Titles"])
    api.get("columns that are none", "/containers/box/top?ps_args=" + quote("-o nothing"))
    for arguments in ("aux", "-eo pid,comm", "-o pid=,comm", "-o comm", "-o args,pid", "-C x -o pid"):
        url = "/containers/box/top?ps_args=" + quote(arguments)
        api.note(f"titles of {arguments}", _titles(api.send("GET", url).json()))


def _titles(top: Any) -> Any:
    return [top["Titles"], len(top["Processes"] or ())] if "Titles" in top else top["message"]


def _without_pids(body: bytes) -> Any:
    top = json.loads(body)
    column = top["Titles"].index("PID")
    return {**top, "Processes": [[*row[:column], "<pid>", *row[column + 1 :]] for row in top["Processes"]]}


def statistics(api: Recorder) -> None:
    api.run("box", "sleep", "1000")
    api.get("once", "/containers/box/stats?stream=false", read=shape_of_json)
    api.get("one shot", "/containers/box/stats?stream=false&one-shot=true", read=shape_of_json)
    api.get("a stream of one shot", "/containers/box/stats?stream=true&one-shot=true")
    api.need("POST", "/containers/box/kill")
    api.need("POST", "/containers/box/wait")
    api.get("ended", "/containers/box/stats?stream=false")


def changes(api: Recorder) -> None:
    api.create(
        "box", Cmd=["sh", "-c", "echo a > /tmp/new; mkdir -p /srv/deep; rm /etc/group; echo >> /etc/passwd"]
    )
    api.get("before start", "/containers/box/changes", read=sorted_by("Path"))
    api.need("POST", "/containers/box/start")
    api.need("POST", "/containers/box/wait")
    api.get("after", "/containers/box/changes", read=sorted_by("Path"))


def listing(api: Recorder) -> None:
    api.create("made", Labels={"course": "containers", "part": "1"}, Cmd=["sh", "-c", "echo 'a b'"])
    api.finish("ended", "sh", "-c", "echo hello > /file; exit 3", Labels={"course": "containers"})
    ports = {"80/tcp": {}, "443/tcp": {}}
    api.run("runs", "sleep", "1000", ExposedPorts=ports, HostConfig={"Tmpfs": {"/memory": ""}})
    list_of_names = lambda body: [names for item in json.loads(body) for names in item["Names"]]  # noqa: E731
    api.get("running", "/containers/json")
    api.get("all", "/containers/json?all=1")
    api.get("with sizes", "/containers/json?all=true&size=true")
    for limit in ("1", "2", "-1", "0", "many"):
        api.get(f"limit {limit}", f"/containers/json?limit={limit}", read=list_of_names)
    for name, filters in {
        "name": {"name": ["ma"]},
        "name as a pattern": {"name": ["^/?e.*d$"]},
        "names": {"name": ["made", "runs"]},
        "id": {"id": [api.need("GET", "/containers/made/json").json()["Id"][:8]]},
        "status": {"status": ["created", "exited"]},
        "label": {"label": ["course"]},
        "label with value": {"label": ["part=1"]},
        "labels": {"label": ["course=containers", "part"]},
        "exit code": {"exited": ["3"]},
        "ancestor": {"ancestor": ["busybox"]},
        "unknown ancestor": {"ancestor": ["nothing"]},
        "before": {"before": ["ended"]},
        "since": {"since": ["ended"]},
        "since an unknown one": {"since": ["nobody"]},
        "network": {"network": ["bridge"]},
        "exposed port": {"expose": ["80"]},
        "published port": {"publish": ["80"]},
        "volume": {"volume": ["data"]},
        "old form": {"name": {"made": True}},
        "unknown key": {"colour": ["red"]},
        "unknown status": {"status": ["asleep"]},
        "exit code that is none": {"exited": ["three"]},
        "exposed port that is none": {"expose": ["http"]},
        "port too large": {"publish": ["1-70000"]},
        "half a range of ports": {"publish": ["80-"]},
        "range of ports from its end": {"expose": ["5-3"]},
        "address of a port": {"publish": ["127.0.0.1:80"]},
        "being a task": {"is-task": ["true"]},
        "being no task": {"is-task": ["false"]},
        "being a task or not": {"is-task": ["true", "false"]},
        "being a task perhaps": {"is-task": ["1"]},
        "memory mounted": {"volume": ["/memory"]},
        "part of a name as ancestor": {"ancestor": ["busy"]},
    }.items():
        api.get(
            f"by {name}", "/containers/json?all=1&filters=" + quote(json.dumps(filters)), read=list_of_names
        )
    api.get("filters that are no JSON", "/containers/json?filters={")
    api.get("all that is no truth value", "/containers/json?all=maybe", read=list_of_names)


def listing_by_port(api: Recorder) -> None:
    exposed: Any = {"443/tcp": {}, "80/tcp": {}, "53/udp": {}}
    ports = {"80/tcp": [{"HostPort": "18080"}], "53/udp": [{"HostPort": "15353"}]}
    api.run("web", "sleep", "1000", HostConfig={"PortBindings": ports}, ExposedPorts=exposed)
    api.create("made", ExposedPorts={"443/tcp": {}})
    names = lambda body: [item["Names"] for item in json.loads(body)]  # noqa: E731
    for key in ("publish", "expose"):
        for port in (
            "80",
            "443",
            "18080",
            "15353",
            "15353/udp",
            "18000-18100/tcp",
            "53/udp",
            "50-60",
            "x",
            "",
        ):
            filters = quote(json.dumps({key: [port]}))
            api.get(f"{key} {port!r}", f"/containers/json?all=1&filters={filters}", read=names)


def filters_of_prunes(api: Recorder) -> None:
    """What is pruned is none of theirs: only whether the filter makes sense."""
    for kind in ("containers", "images"):
        for name, until in {
            "words": ["soon"],
            "two": ["1h", "2h"],
            "no time": [""],
            "a time and more": ["1h30x"],
            "a date": ["2020-01-01"],
            "minutes": ["2020-01-01T10:00"],
            "seconds": ["1577836800"],
            "a fraction": ["1577836800.5"],
        }.items():
            filters = quote(json.dumps({"until": until}))
            api.post(f"{kind} until {name}", f"/{kind}/prune?filters={filters}")
    for kind in ("containers", "images", "volumes"):
        for wanted in ({"colour": ["x"]}, {"label": ["x"], "label!": ["y"]}):
            api.post(f"{kind} by {sorted(wanted)}", f"/{kind}/prune?filters={quote(json.dumps(wanted))}")
    api.post("volumes until", f"/volumes/prune?filters={quote(json.dumps({'until': ['1h']}))}")
    api.get("volumes that dangle perhaps", f"/volumes?filters={quote(json.dumps({'dangling': ['x']}))}")


def pruning_by_age(api: Recorder) -> None:
    api.finish("box", "true", Labels={"keep": "yes"})
    api.finish("other", "true")
    api.know(api.need("POST", "/commit?container=box&changes=LABEL%20a=b").json()["Id"], "image")
    for until in ("2h", "2020-01-01T00:00:00Z"):
        filters = quote(json.dumps({"until": [until]}))
        api.post(f"containers until {until}", f"/containers/prune?filters={filters}")
        api.post(f"images until {until}", f"/images/prune?filters={filters}")
    time.sleep(1.1)  # a length of time ends at a whole second
    wanted = quote(json.dumps({"until": ["1ns"], "label!": ["keep"]}))
    api.post("containers that are older and unlabelled", f"/containers/prune?filters={wanted}")
    wanted = quote(json.dumps({"until": ["4000000000"]}))
    api.post("containers of today", f"/containers/prune?filters={wanted}")
    wanted = quote(json.dumps({"label": ["a=c"]}))
    api.post("images with another label", f"/images/prune?filters={wanted}")
    wanted = quote(json.dumps({"until": ["4000000000"], "label": ["a=b"]}))
    api.post("images of today with the label", f"/images/prune?filters={wanted}")


def pruning(api: Recorder) -> None:
    api.finish("ended", "sh", "-c", "echo 12345 > /file")
    api.create("made", Labels={"keep": ""})
    api.run("runs", "sleep", "1000")
    api.post("unknown filter", "/containers/prune?filters=" + quote('{"colour": ["red"]}'))
    api.post("but for a label", "/containers/prune?filters=" + quote('{"label!": ["keep"]}'))
    api.post("prune", "/containers/prune")
    api.get("left", "/containers/json?all=1")


def removing(api: Recorder) -> None:
    api.run("box", "sleep", "1000")
    api.delete("with force", "/containers/box?force=1")
    api.create("box", Volumes={"/data": {}})
    api.delete("with volumes", "/containers/box?v=1")
    api.get("volumes left", "/volumes")
    api.create("box")
    api.delete("link", "/containers/box?link=1")


def resizing(api: Recorder) -> None:
    api.create("box", Cmd=["sleep", "1000"], Tty=True)
    api.post("before the start", "/containers/box/resize?h=10&w=20")
    api.need("POST", "/containers/box/start")
    for arguments in ("h=10&w=20", "h=10", "w=10", "h=a&w=b", "h=-1&w=1", "h=0&w=0", "h=99999&w=1"):
        api.post(arguments, f"/containers/box/resize?{arguments}")
    api.run("pipes", "sleep", "1000")
    api.post("without a terminal", "/containers/pipes/resize?h=10&w=20")
    made = api.need("POST", "/containers/box/exec", {"Cmd": ["true"], "Tty": True}).json()["Id"]
    api.know(made, "exec")
    api.post("of an exec that is unknown", "/exec/nothing/resize?h=1&w=1")
    api.post("of an exec that is unknown, badly", "/exec/nothing/resize?h=1&w=x")
