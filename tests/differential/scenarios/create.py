"""POST /containers/create: bodies that are refused, and the words for it; what is stored of the others."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from tests.differential.recorder import Recorder
from tests.differential.scenarios.files import archive

_REFUSED: dict[str, Any] = {
    "unknown image": {"Image": "no-such-image"},
    "unknown image, with tag": {"Image": "busybox:no-such-tag"},
    "unknown image, with registry": {"Image": "registry.example/team/app"},
    "invalid image name": {"Image": "UPPER/Case"},
    "image of the wrong type": {"Image": 5},
    "no image": {"Cmd": ["true"]},
    "command of the wrong type": {"Image": "busybox", "Cmd": {"a": 1}},
    "empty entrypoint": {"Image": "busybox", "Cmd": [], "Entrypoint": [""]},
    "relative working directory": {"Image": "busybox", "WorkingDir": "not/absolute"},
    "working directory that is a file": {"Image": "busybox", "WorkingDir": "/etc/passwd"},
    "invalid environment": {"Image": "busybox", "Env": ["=value"]},
    "invalid stop signal": {"Image": "busybox", "StopSignal": "SIGNOTHING"},
    "invalid exposed port": {"Image": "busybox", "ExposedPorts": {"http/tcp": {}}},
    "volume of the wrong kind": {"Image": "busybox", "Volumes": {"/": {}}},
}

_REFUSED_HOST_CONFIGS: dict[str, Any] = {
    "little memory": {"Memory": 1000},
    "swap below memory": {"Memory": 33554432, "MemorySwap": 16777216},
    "swap without memory": {"MemorySwap": 33554432},
    "reservation above memory": {"Memory": 33554432, "MemoryReservation": 67108864},
    "too many cpus": {"NanoCpus": 10**13},
    "cpus and a quota": {"NanoCpus": 10**9, "CpuQuota": 50000},
    "short cpu period": {"CpuPeriod": 10},
    "unknown cpu set": {"CpusetCpus": "700"},
    "invalid cpu set": {"CpusetCpus": "a"},
    "unknown restart policy": {"RestartPolicy": {"Name": "sometimes"}},
    "retries without failure": {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 3}},
    "negative retries": {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -1}},
    "restarted and removed": {"RestartPolicy": {"Name": "always"}, "AutoRemove": True},
    "port that is none": {"PortBindings": {"99999/tcp": [{"HostPort": "80"}]}},
    "port that is a word": {"PortBindings": {"http/tcp": [{"HostPort": "80"}]}},
    "host port that is a word": {"PortBindings": {"80/tcp": [{"HostPort": "http"}]}},
    "unknown protocol": {"PortBindings": {"80/icmp": [{"HostPort": "80"}]}},
    "host address that is none": {"PortBindings": {"80/tcp": [{"HostIp": "nowhere", "HostPort": "80"}]}},
    "bind without destination": {"Binds": ["/tmp"]},
    "bind to the top": {"Binds": ["/tmp:/"]},
    "bind to a relative path": {"Binds": ["/tmp:relative"]},
    "bind of a relative path": {"Binds": ["./here:/there"]},
    "bind with an unknown mode": {"Binds": ["/tmp:/there:sideways"]},
    "bind with too many parts": {"Binds": ["/tmp:/there:ro:z:more:still"]},
    "two mounts at one place": {"Binds": ["/tmp:/there", "/etc:/there"]},
    "mount of no source": {"Mounts": [{"Type": "bind", "Target": "/there"}]},
    "mount of a missing source": {"Mounts": [{"Type": "bind", "Source": "/no/such", "Target": "/there"}]},
    "mount of an unknown type": {"Mounts": [{"Type": "cloud", "Target": "/there"}]},
    "mount with no target": {"Mounts": [{"Type": "volume", "Source": "data"}]},
    "mount of tmpfs with a source": {"Mounts": [{"Type": "tmpfs", "Source": "/tmp", "Target": "/there"}]},
    "relative tmpfs": {"Tmpfs": {"there": ""}},
    "tmpfs with an unknown option": {"Tmpfs": {"/there": "colour=red"}},
    "negative shared memory": {"ShmSize": -1},
    "oom score out of range": {"OomScoreAdj": 2000},
    "invalid pid mode": {"PidMode": "nobody"},
    "invalid ipc mode": {"IpcMode": "nobody"},
    "invalid uts mode": {"UTSMode": "nobody"},
    "host name with the host's network names": {"UTSMode": "host", "_Hostname": "web"},
    "unknown network": {"NetworkMode": "nowhere"},
    "network of an unknown container": {"NetworkMode": "container:nobody"},
    "published ports with the host's network": {
        "NetworkMode": "host",
        "PortBindings": {"80/tcp": [{"HostPort": "80"}]},
    },
    "unknown capability": {"CapAdd": ["CAP_TELEPORT"]},
    "unknown security option": {"SecurityOpt": ["magic=on"]},
    "invalid security option": {"SecurityOpt": ["seccomp"]},
    "unreadable seccomp profile": {"SecurityOpt": ["seccomp={not json"]},
    "invalid ulimit": {"Ulimits": [{"Name": "nofile", "Soft": 20, "Hard": 10}]},
    "unknown ulimit": {"Ulimits": [{"Name": "patience", "Soft": 1, "Hard": 1}]},
    "unknown runtime": {"Runtime": "no-such-runtime"},
    "unknown log option": {"LogConfig": {"Type": "json-file", "Config": {"colour": "red"}}},
    "volumes of an unknown container": {"VolumesFrom": ["nobody"]},
    "isolation of another system": {"Isolation": "hyperv"},
    "unknown cgroup namespace": {"CgroupnsMode": "x"},
    "storage option": {"StorageOpt": {"size": "1G"}},
    "swappiness": {"MemorySwappiness": 200},
    "ipc of an unknown container": {"IpcMode": "container:nobody"},
    "pid of an unknown container": {"PidMode": "container:nobody"},
    "device that is not there": {"BlkioDeviceReadBps": [{"Path": "/dev/nope", "Rate": 1000}]},
    "gpu": {"DeviceRequests": [{"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}]},
    "link to an unknown container": {"Links": ["nobody:db"]},
    "device that is missing": {"Devices": [{"PathOnHost": "/dev/no-such", "PathInContainer": "/dev/x"}]},
}

_BAD_NAMES = ("a", "-box", "box/1", "box 1", "bóx", "/", "_box", "b" * 300)


def refused_bodies(api: Recorder) -> None:
    for name, body in _REFUSED.items():
        api.post(name, "/containers/create", body)


def platforms(api: Recorder) -> None:
    for platform in ("linux/s390x", "windows/amd64", "nonsense", "linux/a/b/c"):
        api.post(platform, f"/containers/create?platform={platform}", {"Image": "busybox"})
        api.daemon.clear()
    for platform in ("nonsense", "linux/a/b/c"):
        api.post(f"pull {platform}", f"/images/create?fromImage=busybox&tag=latest&platform={platform}")
        context = archive({"Dockerfile": "FROM busybox\n"})
        api.post(
            f"build {platform}", f"/build?platform={platform}", context, Content_Type="application/x-tar"
        )


def refused_host_configs(api: Recorder) -> None:
    for name, host_config in _REFUSED_HOST_CONFIGS.items():
        given = {key: value for key, value in host_config.items() if key != "_Hostname"}
        extra = {"Hostname": host_config["_Hostname"]} if "_Hostname" in host_config else {}
        # Docker 20.10 publishes only what is exposed too, as its command line always asks for.
        extra |= {"ExposedPorts": {port: {} for port in host_config.get("PortBindings", {})}}
        answer = api.post(name, "/containers/create", {"Image": "busybox", "HostConfig": given, **extra})
        if answer.status == 201:  # Found out only when it starts.
            identifier = api.know(answer.json()["Id"], "box")
            api.post(f"{name}: start", f"/containers/{identifier}/start")
            api.need("DELETE", f"/containers/{identifier}?force=1&v=1")


def bodies_that_are_no_json(api: Recorder) -> None:
    kind = {"Content_Type": "application/json"}
    for name, body in {
        "nothing": b"",
        "half an object": b'{"Image": "busybox"',
        "a list": b"[]",
        "a number": b"5",
        "null": b"null",
        "text": b"busybox",
        "two objects": b'{"Image": "busybox"} {"Image": "busybox"}',
        "not UTF-8": b'{"Image": "\xff"}',
    }.items():
        api.post(name, "/containers/create", body, **kind)
        api.daemon.clear()
    body = b'{"Image": "busybox"}'
    for kind_of_body in ("text/plain", "application/json; charset=utf-8", "application/jsonp", ""):
        api.post(f"type {kind_of_body!r}", "/containers/create", body, Content_Type=kind_of_body)


def names(api: Recorder) -> None:
    for name in _BAD_NAMES:
        api.post(f"name {name[:10]!r}", f"/containers/create?name={quote(name)}", {"Image": "busybox"})
    api.daemon.clear()
    api.create("box")
    for name in ("box", "/box"):
        api.post(f"taken name {name!r}", f"/containers/create?name={name}", {"Image": "busybox"})


def empty_command(api: Recorder) -> None:
    empty = api.need("POST", "/images/create?fromSrc=-&repo=empty", b"\0" * 10240)
    assert "error" not in empty.json_lines()[-1]
    api.post("no command", "/containers/create", {"Image": "empty"})
    api.post("empty command", "/containers/create", {"Image": "empty", "Cmd": []})


def inspected_after_create(api: Recorder) -> None:
    answer = api.post("create", "/containers/create?name=box", {"Image": "busybox"})
    api.know(answer.json()["Id"], "box")
    api.get("by name", "/containers/box/json")
    api.get("by short id", f"/containers/{answer.json()['Id'][:12]}/json")
    api.get("with sizes", "/containers/box/json?size=1")
    api.get("unknown", "/containers/nobody/json")


def everything_given(api: Recorder) -> None:
    """A body that sets what the lessons use; inspect gives it all back."""
    config = {
        "Image": "busybox",
        "Hostname": "web",
        "Domainname": "example.org",
        "User": "daemon",
        "Env": ["MSG=hello world", "EMPTY=", "PATH=/bin"],
        "Cmd": ["-c", "sleep 100"],
        "Entrypoint": ["sh"],
        "WorkingDir": "/srv",
        "Labels": {"course": "containers", "empty": ""},
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
        "Volumes": {"/data": {}},
        "StopSignal": "SIGQUIT",
        "StopTimeout": 3,
        "Tty": True,
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 30 * 10**9, "Retries": 2},
        "HostConfig": {
            "Binds": ["/usr:/host:ro", "named:/named"],
            "Mounts": [{"Type": "tmpfs", "Target": "/scratch", "TmpfsOptions": {"SizeBytes": 1048576}}],
            "PortBindings": {
                "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}],
                "53/udp": [{"HostPort": ""}],
            },
            "Memory": 67108864,
            "NanoCpus": 500000000,
            "PidsLimit": 50,
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
            "CapAdd": ["NET_ADMIN"],
            "CapDrop": ["MKNOD"],
            "ReadonlyRootfs": True,
            "Tmpfs": {"/run": "size=64k"},
            "ExtraHosts": ["db:10.0.0.5"],
            "Dns": ["10.0.0.1"],
            "DnsSearch": ["example.org"],
            "GroupAdd": ["wheel"],
            "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}],
            "ShmSize": 33554432,
            "OomScoreAdj": 100,
            "Sysctls": {"net.ipv4.ip_forward": "1"},
            "SecurityOpt": ["no-new-privileges"],
            "Init": True,
        },
        "NetworkingConfig": {"EndpointsConfig": {"bridge": {}}},
    }
    answer = api.post("create", "/containers/create?name=box", config)
    identifier = api.know(answer.json()["Id"], "box")
    api.get("inspect", f"/containers/{identifier}/json")
    api.get("list", "/containers/json?all=1")


def names_in_any_case(api: Recorder) -> None:
    """Go's JSON takes a field's name in capitals and small letters alike; of two the later counts."""
    body = {
        "image": "busybox",
        "CMD": ["sh", "-c", "echo $A"],
        "env": ["A=1"],
        "labels": {"Key": "Value"},
        "tty": True,
        "Tty": False,
        "hostConfig": {"memory": 67108864, "restartpolicy": {"name": "on-failure", "maximumretrycount": 2}},
    }
    api.know(api.post("create", "/containers/create?name=box", body).json()["Id"], "box")
    shown = api.need("GET", "/containers/box/json").json()
    api.note("config", shown["Config"])
    api.note("limits", {key: shown["HostConfig"][key] for key in ("Memory", "RestartPolicy")})
    api.post("nothing but a host config", "/containers/create", {"hostconfig": {}})
    api.post("wrong type", "/containers/create", {"image": "busybox", "tty": "yes"})
    api.run("runs", "sleep", "1000")
    made = api.post("exec", "/containers/runs/exec", {"cmd": ["cat"], "tty": True, "detachKeys": "ctrl-p"})
    api.know(made.json()["Id"], "exec")
    api.get("exec is", f"/exec/{made.json()['Id']}/json")
    api.know(api.post("network", "/networks/create", {"name": "lesson"}).json()["Id"], "lesson")
    api.post("connect", "/networks/lesson/connect", {"container": "runs"})
    api.post("volume", "/volumes/create", {"name": "data", "labels": {"a": "b"}})
    api.know(api.post("commit", "/commit?container=box&repo=me/it", {"user": "daemon"}).json()["Id"], "image")
    api.note("user", api.need("GET", "/images/me/it/json").json()["Config"]["User"])
