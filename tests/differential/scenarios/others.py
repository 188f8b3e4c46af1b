"""Events, volumes and networks."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from tests.differential.recorder import Recorder, json_body, sorted_by, streams
from tests.differential.scenarios.files import archive


def volumes(api: Recorder) -> None:
    api.get("none", "/volumes")
    api.post("create", "/volumes/create", {"Name": "data", "Labels": {"course": "containers"}})
    api.post("create again", "/volumes/create", {"Name": "data"})
    anonymous = api.need("POST", "/volumes/create", {}).json()["Name"]
    api.know(anonymous, "anonymous")
    api.get("inspect", "/volumes/data")
    api.get("inspect the nameless", f"/volumes/{anonymous}")
    api.get("list", "/volumes")
    for name, filters in {
        "name": {"name": ["dat"]},
        "label": {"label": ["course=containers"]},
        "dangling": {"dangling": ["true"]},
        "driver": {"driver": ["local"]},
        "unknown key": {"colour": ["red"]},
    }.items():
        api.get(f"by {name}", "/volumes?filters=" + quote(json.dumps(filters)))
    api.get("unknown", "/volumes/nothing")
    api.delete("remove unknown", "/volumes/nothing")
    api.delete("remove unknown with force", "/volumes/nothing?force=1")
    for name in ("a", "a/b", "-x", "a b"):
        api.post(f"bad name {name!r}", "/volumes/create", {"Name": name})
    api.post("no JSON", "/volumes/create", b"{", Content_Type="application/json")
    api.create("user", HostConfig={"Binds": ["data:/data"]})
    api.delete("remove what is used", "/volumes/data")
    api.need("DELETE", "/containers/user")
    api.delete("remove", "/volumes/data")
    api.post("prune", "/volumes/prune")


def volume_contents(api: Recorder) -> None:
    """A new named volume is filled from the image, and lives longer than the container."""
    api.finish("first", "sh", "-c", "ls /etc; echo kept > /etc/kept", HostConfig={"Binds": ["data:/etc"]})
    api.get("filled from the image", "/containers/first/logs?stdout=1", read=streams)
    api.need("DELETE", "/containers/first?v=1")
    api.finish("second", "cat", "/data/kept", HostConfig={"Binds": ["data:/data:ro"]})
    api.get("kept", "/containers/second/logs?stdout=1", read=streams)
    api.finish("third", "cat", "/data/kept", HostConfig={"VolumesFrom": ["second"]})
    api.get("from another container", "/containers/third/logs?stdout=1", read=streams)
    api.finish("fourth", "touch", "/data/x", HostConfig={"Binds": ["data:/data:ro"]})
    api.get("read-only", "/containers/fourth/logs?stderr=1", read=streams)


def volumes_in_containers(api: Recorder) -> None:
    api.create("box", Volumes={"/anonymous": {}}, HostConfig={"Binds": ["named:/named", "/usr:/host:ro"]})
    mounts = api.need("GET", "/containers/box/json").json()["Mounts"]
    api.note("mounts", sorted(mounts, key=lambda mount: mount["Destination"]))
    api.need("DELETE", "/containers/box?v=1")
    api.get("after removal with its volumes", "/volumes")


def networks(api: Recorder) -> None:
    api.get("list", "/networks", read=sorted_by("Name"))
    for name in ("bridge", "host", "none"):
        api.get(f"inspect {name}", f"/networks/{name}")
        api.delete(f"remove {name}", f"/networks/{name}")
    api.get("unknown", "/networks/nowhere")
    api.delete("remove unknown", "/networks/nowhere")
    api.get("by name", "/networks?filters=" + quote('{"name": ["bri"]}'), read=sorted_by("Name"))
    api.get("by driver", "/networks?filters=" + quote('{"driver": ["host"]}'), read=sorted_by("Name"))
    api.get("by unknown key", "/networks?filters=" + quote('{"colour": ["red"]}'))
    api.run("box", "sleep", "1000")
    inspected = api.need("GET", "/networks/bridge").json()["Containers"]
    api.note("a container on it", list(inspected.values()))
    api.post("prune", "/networks/prune")


def addresses(api: Recorder) -> None:
    """What a running container's network settings say, in each mode."""
    for mode in ("bridge", "none", "host"):
        api.run(mode, "sleep", "1000", HostConfig={"NetworkMode": mode})
        api.note(f"settings: {mode}", api.need("GET", f"/containers/{mode}/json").json()["NetworkSettings"])
        api.need("POST", f"/containers/{mode}/kill")
        api.need("POST", f"/containers/{mode}/wait")
        api.note(f"ended: {mode}", api.need("GET", f"/containers/{mode}/json").json()["NetworkSettings"])


def inside_of_containers(api: Recorder) -> None:
    """What a program sees: names, files that the engine writes, limits, capabilities, devices, mounts."""
    for name, command in {
        "hosts": "grep -v host.docker.internal /etc/hosts | sed 's/\\t.*web/\\tweb/'",
        "hostname": "hostname; cat /etc/hostname",
        "capabilities": "grep Cap /proc/self/status",
        "seccomp": "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status",
        "devices": "ls /dev",
        "device types": "ls -l /dev | sed 's/ .*//'",
        "mounts": "cut -d' ' -f2 /proc/mounts | sort | grep -v -e cgroup -e interrupts -e powercap",
        "masked": "for f in kcore keys timer_list; do wc -c < /proc/$f; done; ls /proc/acpi /sys/firmware",
        "read-only": 'for f in sys irq bus; do grep -c " /proc/$f .*ro," /proc/mounts; done',
        "identity": "id; umask; pwd; echo $$; echo $HOME; env | cut -d= -f1 | sort",
        "interfaces": "ip -o link | cut -d: -f2 | cut -d@ -f1",
        "resolver": "grep -c nameserver /etc/resolv.conf",
        "oom": "cat /proc/self/oom_score_adj",
        "shm": "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2",
        "limits": "grep -E 'core|stack|pending' /proc/self/limits",
        "sysctls": "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range",
    }.items():
        api.finish(name.replace(" ", "-"), "sh", "-c", command, Hostname="web")
        api.get(name, f"/containers/{name.replace(' ', '-')}/logs?stdout=1&stderr=1", read=streams)


def given_to_containers(api: Recorder) -> None:
    """Options of HostConfig, seen from inside."""
    for name, command, host_config in (
        (
            "read-only",
            "touch /x 2>&1; touch /tmp/x 2>&1; echo $?",
            {"ReadonlyRootfs": True, "Tmpfs": {"/tmp": ""}},
        ),
        ("capabilities", "grep CapEff /proc/self/status", {"CapAdd": ["NET_ADMIN"], "CapDrop": ["CHOWN"]}),
        ("no-capabilities", "grep CapEff /proc/self/status", {"CapDrop": ["ALL"]}),
        # As a word: a container's own name may have these letters too.
        ("extra-hosts", "grep -w db /etc/hosts", {"ExtraHosts": ["db:10.1.2.3"]}),
        (
            "dns",
            "cat /etc/resolv.conf",
            {"Dns": ["10.1.2.3"], "DnsSearch": ["example.org"], "DnsOptions": ["ndots:2"]},
        ),
        ("groups", "id -G", {"GroupAdd": ["wheel", "77"]}),
        ("limit", "ulimit -n; ulimit -Hn", {"Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}]}),
        ("shm", "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2", {"ShmSize": 1048576}),
        ("sysctl", "cat /proc/sys/net/ipv4/ip_forward", {"Sysctls": {"net.ipv4.ip_forward": "1"}}),
        ("no-new-privileges", "grep NoNewPrivs /proc/self/status", {"SecurityOpt": ["no-new-privileges"]}),
        ("init", "cat /proc/1/comm", {"Init": True}),
        ("host-pid", "test -d /proc/2 && echo many", {"PidMode": "host"}),
        ("host-uts", "hostname > /dev/null && echo named", {"UTSMode": "host"}),
        ("host-network", "ls /sys/class/net | grep -c lo", {"NetworkMode": "host"}),
        ("no-network", "ip -o link | cut -d: -f2", {"NetworkMode": "none"}),
        ("oom-score", "cat /proc/self/oom_score_adj", {"OomScoreAdj": 500}),
        ("memory", "dd if=/dev/zero of=/dev/null bs=100M count=1 2>/dev/null; echo $?", {"Memory": 33554432}),
        ("tmpfs", "grep ' /run ' /proc/mounts", {"Tmpfs": {"/run": "size=64k,mode=700"}}),
        (
            "device",
            "ls -l /dev/null2 | cut -c1",
            {
                "Devices": [
                    {"PathOnHost": "/dev/null", "PathInContainer": "/dev/null2", "CgroupPermissions": "rwm"}
                ]
            },
        ),
    ):
        api.finish(name, "sh", "-c", command, HostConfig=host_config)
        api.get(name, f"/containers/{name}/logs?stdout=1&stderr=1", read=streams)


def published_ports(api: Recorder) -> None:
    bindings = {"80/tcp": [{"HostPort": "8080"}]}
    api.run("first", "sleep", "1000", HostConfig={"PortBindings": bindings}, ExposedPorts={"80/tcp": {}})
    api.note("ports", api.need("GET", "/containers/first/json").json()["NetworkSettings"]["Ports"])
    api.get("listed", "/containers/json")
    same = {"HostConfig": {"PortBindings": bindings}, "ExposedPorts": {"80/tcp": {}}}
    api.create("second", Cmd=["sleep", "1000"], **same)
    api.post("taken by another container", "/containers/second/start")
    api.note("state", api.need("GET", "/containers/second/json").json()["State"])
    api.need("DELETE", "/containers/first?force=1")
    api.post("free again", "/containers/second/start")
    api.run(
        "all",
        "sleep",
        "1000",
        HostConfig={"PublishAllPorts": True},
        ExposedPorts={"80/tcp": {}, "53/udp": {}},
    )
    ports = api.need("GET", "/containers/all/json").json()["NetworkSettings"]["Ports"]
    api.note("all of them", {port: [bound["HostIp"] for bound in found] for port, found in ports.items()})


def events(api: Recorder) -> None:
    # From one whole second to another, with all that is done well between the two.
    start = json.loads(api.daemon.run(["sh", "-c", "sleep 1.1; date +%s"]).stdout)
    api.create("box", Cmd=["sh", "-c", "exit 3"], Labels={"course": "containers"})
    api.need("POST", "/containers/box/start")
    api.need("POST", "/containers/box/wait")
    api.need("POST", "/containers/box/rename?name=new")
    api.need("GET", "/containers/new/archive?path=/etc/group")
    api.need("PUT", "/containers/new/archive?path=/tmp", archive({"a": "one"}))
    image = api.need("POST", "/commit?container=new&repo=me/it").json()["Id"]
    api.know(image, "image")
    api.need("DELETE", "/containers/new")
    api.need("POST", "/images/me/it/tag?repo=me/other")
    api.need("DELETE", "/images/me/other")
    api.need("DELETE", "/images/me/it")
    api.finish("reader", "true", HostConfig={"Binds": ["data:/data:ro"]})
    api.need("DELETE", "/containers/reader")
    api.need("DELETE", "/volumes/data")
    for kind in ("containers", "networks", "volumes", "images"):
        api.need("POST", f"/{kind}/prune")
    identifier = api.run("runs", "sleep", "1000", StopSignal="KILL")
    exec_id = api.need("POST", "/containers/runs/exec", {"Cmd": ["true"]}).json()["Id"]
    api.know(exec_id, "exec")
    api.need("POST", f"/exec/{exec_id}/start", {"Detach": True})
    api.until(f"/exec/{exec_id}/json", lambda state: not state["Running"])
    for verb in ("pause", "unpause", "kill?signal=WINCH", "restart?t=9", "stop?t=9"):
        api.need("POST", f"/containers/runs/{verb}")
    api.need("DELETE", "/containers/runs")
    end = api.daemon.run(["sh", "-c", "sleep 1.1; date +%s"]).stdout.strip()
    window = f"since={start}&until={end}"
    everything = api.need("GET", f"/events?{window}").body
    ours = [event for event in _listed(everything) if int(event["time"]) >= start]
    for kind in ("container", "image", "volume", "network"):
        seen = [_without_times(event) for event in ours if event["Type"] == kind]
        # Docker's daemon now and then tells twice that a container was paused and went on.
        once = [event for number, event in enumerate(seen) if event not in seen[max(0, number - 2) : number]]
        api.note(f"of kind {kind}", once)
    api.get("ended before it began", "/events?since=20&until=10")
    for name, filters in {
        "type": {"type": ["volume"]},
        "event": {"event": ["die"]},
        "container": {"container": [identifier], "event": ["start", "die"]},
        "container's name": {"container": ["runs"], "event": ["start"]},
        "image": {"image": ["me/it"]},
        "pruning": {"event": ["prune"]},
        "a node": {"node": ["this"]},
        "label": {"label": ["course=containers"], "event": ["create"]},
    }.items():
        answer = api.send("GET", f"/events?{window}&filters=" + quote(json.dumps(filters)))
        events = [
            _without_times(event) for event in _listed(answer.body) if event.get("time", start) >= start
        ]
        api.note(f"by {name}", [answer.status, events])
    api.get("bad time", "/events?since=yesterday&until=tomorrow")


def _listed(body: bytes) -> list[Any]:
    values = json_body(body) if body.strip() else []
    return values if isinstance(values, list) else [values]


def _without_times(event: Any) -> Any:
    return {key: value for key, value in event.items() if key not in {"time", "timeNano"}}


def own_seccomp_profile(api: Recorder) -> None:
    """Calls that fail as the profile says, in the container and in what is run in it later."""
    calls = [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"},
        {"names": ["chmod", "fchmod", "fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
        {"name": "chown", "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_CHOWN"]}},
        {
            "names": ["socket"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 97,
            "args": [{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}],
        },
        {
            "names": ["kill"],
            "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_GE"}],
        },
        {"names": ["no_such_call"], "action": "SCMP_ACT_ERRNO"},
    ]
    profile = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": calls})
    script = (
        "mkdir /a; touch /b; chmod 700 /b; chown 1 /b && stat -c %u /b; "
        "sleep 9 & kill -USR1 $! 2>/dev/null || echo refused; kill -HUP $! && echo killed; "
        "ping -c1 127.0.0.1; grep Seccomp: /proc/self/status"
    )
    options = {"SecurityOpt": [f"seccomp={profile}"]}
    api.finish("box", "sh", "-c", script, HostConfig=options)
    api.get("output", "/containers/box/logs?stdout=1&stderr=1", streams)
    api.note("shown", api.need("GET", "/containers/box/json").json()["HostConfig"]["SecurityOpt"])
    api.run("runs", "sleep", "1000", HostConfig=options)
    api.note("in an exec", api.daemon.docker("exec", "runs", "mkdir", "/a").stderr)
    for name, text in {
        "action": {"defaultAction": "SCMP_ACT_HOPE"},
    }.items():
        option = {"SecurityOpt": [f"seccomp={json.dumps(text)}"]}
        body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": option}
        answer = api.send("POST", "/containers/create", body)
        if answer.status == 201:
            answer = api.send("POST", f"/containers/{answer.json()['Id']}/start")
        api.note(f"refused: {name}", answer.status >= 400)
