from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labkernel.commands import CommandError, parse
from labkernel.commands.container_config import container_config, environment, labels, mount, ulimit


def config(*flags: str, detach: bool = False) -> dict[str, Any]:
    invocation = parse(["run", *flags, "busybox", "sh"])
    return container_config(invocation.options, "busybox", ["sh"], detach=detach)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            "",
            {
                "Image": "busybox",
                "Cmd": ["sh"],
                "Entrypoint": None,
                "AttachStdout": True,
                "AttachStdin": False,
            },
        ),
        ("-it", {"Tty": True, "OpenStdin": True, "StdinOnce": True, "AttachStdin": True}),
        ("-a stdout", {"AttachStdout": True, "AttachStderr": False}),
        (
            "-w /x -u 1:2 -h me --domainname d",
            {"WorkingDir": "/x", "User": "1:2", "Hostname": "me", "Domainname": "d"},
        ),
        ("--entrypoint /bin/ls", {"Entrypoint": ["/bin/ls"]}),
        ("--entrypoint=", {"Entrypoint": [""]}),
        ("-e A=1 -e B=", {"Env": ["A=1", "B="]}),
        ("-l a=1 -l b", {"Labels": {"a": "1", "b": ""}}),
        ("-p 1:80 --expose 90", {"ExposedPorts": {"80/tcp": {}, "90/tcp": {}}}),
        ("-v /data -v a:/b", {"Volumes": {"/data": {}}}),
        ("--stop-signal INT --stop-timeout 3", {"StopSignal": "INT", "StopTimeout": 3}),
        (
            "--health-cmd true --health-interval 2s",
            {"Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 2 * 10**9}},
        ),
        ("--no-healthcheck", {"Healthcheck": {"Test": ["NONE"]}}),
        (
            "--network n --network-alias a --ip 10.0.0.2",
            {
                "NetworkingConfig": {
                    "EndpointsConfig": {"n": {"Aliases": ["a"], "IPAMConfig": {"IPv4Address": "10.0.0.2"}}}
                }
            },
        ),
    ],
)
def test_flags_of_the_container(flags: str, expected: dict[str, Any]) -> None:
    found = config(*flags.split())
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            "",
            {
                "NetworkMode": "default",
                "AutoRemove": False,
                "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
            },
        ),
        (
            "--rm --init --privileged --read-only",
            {"AutoRemove": True, "Init": True, "Privileged": True, "ReadonlyRootfs": True},
        ),
        ("--restart on-failure:3", {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}}),
        ("-v /a:/b:ro -v name:/c", {"Binds": ["/a:/b:ro", "name:/c"]}),
        ("--tmpfs /t:size=1m --tmpfs /u", {"Tmpfs": {"/t": "size=1m", "/u": ""}}),
        (
            "-m 64m --memory-swap -1 --cpus 0.5 --pids-limit 9",
            {"Memory": 64 << 20, "MemorySwap": -1, "NanoCpus": 500_000_000, "PidsLimit": 9},
        ),
        ("--cap-add A --cap-drop ALL", {"CapAdd": ["A"], "CapDrop": ["ALL"]}),
        (
            "--device /dev/fuse --device /a:/b:r",
            {
                "Devices": [
                    {"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rwm"},
                    {"PathOnHost": "/a", "PathInContainer": "/b", "CgroupPermissions": "r"},
                ]
            },
        ),
        ("--add-host a:1.2.3.4 --add-host b=[::1]", {"ExtraHosts": ["a:1.2.3.4", "b:::1"]}),
        ("--log-driver none --log-opt a=b", {"LogConfig": {"Type": "none", "Config": {"a": "b"}}}),
        ("--net host --pid host --ipc none", {"NetworkMode": "host", "PidMode": "host", "IpcMode": "none"}),
        ("--sysctl net.a=1 --shm-size 1m", {"Sysctls": {"net.a": "1"}, "ShmSize": 1 << 20}),
        ("--ulimit nofile=1:2", {"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}]}),
        ("--security-opt no-new-privileges", {"SecurityOpt": ["no-new-privileges"]}),
    ],
)
def test_flags_of_the_host(flags: str, expected: dict[str, Any]) -> None:
    found = config(*flags.split())["HostConfig"]
    assert {key: found[key] for key in expected} == expected


def test_a_relative_source_is_a_directory_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert config("-v", "./src:/src", "-v", ".:/all")["HostConfig"]["Binds"] == [
        f"{tmp_path}/src:/src",
        f"{tmp_path}:/all",
    ]


@pytest.mark.parametrize(
    "flags",
    [
        "--rm --restart always",
        "-a nowhere",
        "-v a:b",
        "--restart on-failure:x",
        "--mount type=bind",
        "--mount type=bind,target=/x,nope=1",
        "--ulimit nofile",
        "--device a:b:c:d",
        "--add-host x",
        "--sysctl x",
        "--env-file /nowhere",
        "--security-opt seccomp=/nowhere",
        "--no-healthcheck --health-cmd x",
        "-p nope",
    ],
)
def test_values_that_cannot_be(flags: str) -> None:
    with pytest.raises(CommandError) as raised:
        config(*flags.split())
    assert raised.value.exit_code == 125


def test_environment_from_files_and_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "here")
    monkeypatch.delenv("NOT_MINE", raising=False)
    file = tmp_path / "env"
    file.write_text("\ufeff# comment\n\nA=1\n  B=two words\nMINE\nNOT_MINE\n")
    assert environment(["C=3"], [str(file)]) == ["A=1", "B=two words", "MINE=here", "C=3"]
    file.write_text("A B=1\n")
    with pytest.raises(CommandError, match="contains whitespaces"):
        environment([], [str(file)])


def test_labels_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "labels"
    file.write_text("a=1\n#b=2\nc\n")
    assert labels(["a=2"], [str(file)]) == {"a": "2", "c": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "type=bind,source=/a,target=/b,readonly",
            {"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True},
        ),
        (
            "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770",
            {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o1770}},
        ),
        (
            "src=v,target=/v,volume-nocopy",
            {"Type": "volume", "Source": "v", "Target": "/v", "VolumeOptions": {"NoCopy": True}},
        ),
        ('"source=/a,b",target=/b,type=bind', {"Type": "bind", "Source": "/a,b", "Target": "/b"}),
        (
            "type=bind,src=/a,dst=/b,ro=false,bind-propagation=rslave",
            {
                "Type": "bind",
                "Source": "/a",
                "Target": "/b",
                "ReadOnly": False,
                "BindOptions": {"Propagation": "rslave"},
            },
        ),
    ],
)
def test_mounts(text: str, expected: dict[str, Any]) -> None:
    assert mount(text) == expected


def test_ulimits() -> None:
    assert ulimit("nofile=10") == {"Name": "nofile", "Soft": 10, "Hard": 10}
