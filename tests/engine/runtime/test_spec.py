"""config.json, by tables; and beside what dockerd writes for the same container."""

from __future__ import annotations

import json
from typing import Any

import pytest

from labkernel.engine.errors import InvalidParameter
from labkernel.engine.runtime.capabilities import (
    ALL_CAPABILITIES,
    DEFAULT_CAPABILITIES,
    container_capabilities,
)
from labkernel.engine.runtime.spec import (
    Device,
    Mount,
    Overlay,
    Resources,
    SpecOptions,
    process_spec,
    resources_spec,
    runtime_spec,
)

DEFAULT = runtime_spec(SpecOptions(args=["true"], overlay=Overlay(["/a", "/b"], "/u", "/w")))


def at(spec: dict[str, Any], path: str) -> Any:
    found: Any = spec
    for part in path.split("."):
        found = found[part]
    return found


@pytest.mark.parametrize(
    ("options", "path", "expected"),
    [
        ({"args": ["a", "b"]}, "process.args", ["a", "b"]),
        ({"cwd": ""}, "process.cwd", "/"),
        ({"user": "daemon"}, "process.user.username", "daemon"),
        ({"terminal": True}, "process.terminal", True),
        ({"no_new_privileges": True}, "process.noNewPrivileges", True),
        ({"oom_score_adj": -5}, "process.oomScoreAdj", -5),
        (
            {"rlimits": {"nofile": (1, 2)}},
            "process.rlimits",
            [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}],
        ),
        ({"capabilities": ["CAP_KILL"]}, "process.capabilities.bounding", ["CAP_KILL"]),
        ({"privileged": True}, "process.capabilities.effective", list(ALL_CAPABILITIES)),
        ({"rootfs": "/r"}, "root.path", "/r"),
        ({"readonly_rootfs": True}, "root.readonly", True),
        ({"hostname": "h"}, "hostname", "h"),
        ({"domainname": "d"}, "domainname", "d"),
        ({"seccomp": "unconfined"}, "annotations", {"labkernel.seccomp": "unconfined"}),
        ({"privileged": True}, "annotations", {"labkernel.seccomp": "unconfined"}),
        ({"init": True}, "annotations", {"labkernel.seccomp": "default", "labkernel.init": "true"}),
        ({"privileged": True}, "linux.maskedPaths", []),
        ({"privileged": True}, "linux.readonlyPaths", []),
        ({"masked_paths": ["/x"]}, "linux.maskedPaths", ["/x"]),
        ({"readonly_paths": []}, "linux.readonlyPaths", []),
        ({"privileged": True}, "linux.resources.devices", [{"allow": True, "access": "rwm"}]),
        ({"sysctls": {"net.core.somaxconn": "9"}}, "linux.sysctl", {"net.core.somaxconn": "9"}),
        (
            {"pid": "host", "network": "/run/n", "cgroup": "private", "uts": "host", "ipc": "/proc/9/ns/ipc"},
            "linux.namespaces",
            [
                {"type": "mount"},
                {"type": "ipc", "path": "/proc/9/ns/ipc"},
                {"type": "network", "path": "/run/n"},
                {"type": "cgroup"},
            ],
        ),
        (
            {"devices": [Device("/dev/x", "c", 10, 200, 0o600, 1, 2)]},
            "linux.devices",
            [
                {
                    "path": "/dev/x",
                    "type": "c",
                    "major": 10,
                    "minor": 200,
                    "fileMode": 0o600,
                    "uid": 1,
                    "gid": 2,
                }
            ],
        ),
    ],
)
def test_an_option_and_what_it_becomes(options: dict[str, Any], path: str, expected: Any) -> None:
    assert at(runtime_spec(SpecOptions(**options)), path) == expected


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (Resources(), {}),
        (Resources(memory=100), {"memory": {"limit": 100, "swap": 200}}),
        (Resources(memory=100, memory_swap=-1), {"memory": {"limit": 100, "swap": -1}}),
        (
            Resources(memory_reservation=5, memory_swappiness=0),
            {"memory": {"reservation": 5, "swappiness": 0}},
        ),
        (Resources(nano_cpus=1_500_000_000), {"cpu": {"period": 100_000, "quota": 150_000}}),
        (
            Resources(cpu_quota=5, cpu_period=10, cpu_shares=3),
            {"cpu": {"shares": 3, "period": 10, "quota": 5}},
        ),
        (Resources(cpuset_cpus="0-1", cpuset_mems="0"), {"cpu": {"cpus": "0-1", "mems": "0"}}),
        (Resources(pids_limit=-1), {"pids": {"limit": -1}}),
        (Resources(blkio_weight=300), {"blockIO": {"weight": 300}}),
    ],
)
def test_resources(resources: Resources, expected: dict[str, Any]) -> None:
    assert resources_spec(resources) == expected


def test_the_overlay_is_the_first_mount_and_its_paths_are_escaped() -> None:
    spec = runtime_spec(SpecOptions(overlay=Overlay(["/a:b", "/c,d", "/e\\f"], "/u", "/w")))
    assert spec["mounts"][0] == {
        "destination": "/",
        "type": "overlay",
        "source": "overlay",
        "options": ["lowerdir=/a\\:b:/c\\,d:/e\\\\f", "upperdir=/u", "workdir=/w"],
    }


def test_a_mount_of_the_user_takes_the_place_of_a_default_one() -> None:
    mounts = runtime_spec(SpecOptions(mounts=[Mount("/dev/shm/", "/host")]))["mounts"]
    assert [mount["source"] for mount in mounts if mount["destination"].rstrip("/") == "/dev/shm"] == [
        "/host"
    ]


def test_a_dev_of_the_user_has_none_of_the_default_mounts() -> None:
    mounts = runtime_spec(SpecOptions(mounts=[Mount("/dev", "/dev")]))["mounts"]
    assert [mount["destination"] for mount in mounts] == ["/proc", "/sys", "/sys/fs/cgroup", "/dev"]


def test_outer_mounts_come_first() -> None:
    wanted = [Mount("/a/b/c", "/1"), Mount("/a", "/2"), Mount("/a/b", "/3")]
    mounts = runtime_spec(SpecOptions(mounts=wanted))["mounts"]
    assert [mount["destination"] for mount in mounts[-3:]] == ["/a", "/a/b", "/a/b/c"]


def test_binds_are_recursive_and_private_unless_said() -> None:
    mounts = runtime_spec(
        SpecOptions(mounts=[Mount("/a", "/1"), Mount("/b", "/2", options=("bind", "rslave", "ro"))])
    )
    assert [mount["options"] for mount in mounts["mounts"][-2:]] == [
        ["rbind", "rprivate"],
        ["bind", "rslave", "ro"],
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sysctls": {"kernel.panic": "1"}}, "not in a separate kernel namespace"),
        ({"sysctls": {"net/../kernel/panic": "1"}}, "not in a separate kernel namespace"),
        (
            {"sysctls": {"net.core.somaxconn": "1"}, "network": "host"},
            "not allowed in host network namespace",
        ),
        ({"sysctls": {"kernel.msgmax": "1"}, "ipc": "host"}, "hosts ipc namespace"),
        ({"device_cgroup_rules": ["c 1 rwm"]}, "invalid device cgroup rule format: 'c 1 rwm'"),
        ({"device_cgroup_rules": ["x 1:2 rwm"]}, "invalid device cgroup rule format"),
    ],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        runtime_spec(SpecOptions(**options))


def test_device_rules() -> None:
    options = SpecOptions(
        devices=[Device("/dev/x", "b", 8, 0, permissions="r")], device_cgroup_rules=["c 188:* rw"]
    )
    rules = runtime_spec(options)["linux"]["resources"]["devices"]
    assert rules[0] == {"allow": False, "access": "rwm"}
    assert rules[-2:] == [
        {"allow": True, "type": "b", "access": "r", "major": 8, "minor": 0},
        {"allow": True, "type": "c", "access": "rw", "major": 188},
    ]


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ([], [], set(DEFAULT_CAPABILITIES)),
        (["NET_ADMIN"], [], {*DEFAULT_CAPABILITIES, "CAP_NET_ADMIN"}),
        (["cap_sys_ptrace"], ["mknod"], {*DEFAULT_CAPABILITIES, "CAP_SYS_PTRACE"} - {"CAP_MKNOD"}),
        (["all"], [], set(ALL_CAPABILITIES)),
        (["ALL"], ["SYS_ADMIN"], set(ALL_CAPABILITIES) - {"CAP_SYS_ADMIN"}),
        ([], ["ALL"], set()),
        (["CHOWN"], ["ALL"], {"CAP_CHOWN"}),
        (["ALL"], ["ALL"], set(ALL_CAPABILITIES)),
    ],
)
def test_capabilities(add: list[str], drop: list[str], expected: set[str]) -> None:
    assert set(container_capabilities(add, drop)) == expected


@pytest.mark.parametrize("name", ["FLY", "cap_fly"])
def test_an_unknown_capability(name: str) -> None:
    with pytest.raises(InvalidParameter, match='invalid CapAdd: unknown capability: "CAP_FLY"'):
        container_capabilities([name])
    with pytest.raises(InvalidParameter, match='invalid CapDrop: unknown capability: "CAP_FLY"'):
        container_capabilities([], [name])


def test_it_is_json() -> None:
    assert json.loads(json.dumps(DEFAULT)) == DEFAULT
    process = process_spec(["sh"], env=["A=1"], additional_groups=["adm"])
    assert json.loads(json.dumps(process)) == process
