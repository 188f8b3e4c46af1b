"""Where cgroups are and what is written to them: on texts and fake trees, so that every layout is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labkernel.engine.errors import System
from labkernel.engine.runtime import cgroup_stats
from labkernel.engine.runtime.cgroups import (
    Cgroups,
    Hierarchy,
    device_line,
    engine_name,
    parse_hierarchies,
    shares_to_weight,
    v1_settings,
    v2_settings,
)

V2_MOUNT = "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"


def v1_mount(names: str, root: str = "/", where: str = "") -> str:
    return f"31 25 0:30 {root} /sys/fs/cgroup/{where or names} rw - cgroup cgroup rw,{names}"


def test_pure_v2() -> None:
    v1, v2 = parse_hierarchies(V2_MOUNT, "0::/user.slice/x.scope\n")
    assert v1 == {}
    assert v2 == Hierarchy(Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/user.slice/x.scope"), frozenset())


def test_v1_with_controllers_mounted_together_and_v2_beside_them() -> None:
    mounts = "\n".join(
        [
            v1_mount("cpu,cpuacct"),
            v1_mount("memory"),
            "32 25 0:40 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
            "33 25 0:41 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd",
        ]
    )
    v1, v2 = parse_hierarchies(mounts, "3:cpu,cpuacct:/a\n2:memory:/m/x\n1:name=systemd:/\n0::/u\n")
    assert v1["cpu"].own == v1["cpuacct"].own == Path("/sys/fs/cgroup/cpu,cpuacct/a")
    assert v1["memory"].own == Path("/sys/fs/cgroup/memory/m/x")
    assert set(v1) == {"cpu", "cpuacct", "memory"}
    assert v2 is not None
    assert v2.own == Path("/sys/fs/cgroup/unified/u")


def test_a_tree_mounted_from_below_its_root() -> None:
    """In a Docker container of v1: paths count from the machine's root, the mount does not."""
    v1, _ = parse_hierarchies(v1_mount("memory", "/docker/abc"), "2:memory:/docker/abc/deeper\n")
    assert v1["memory"].own == Path("/sys/fs/cgroup/memory/deeper")
    v1, _ = parse_hierarchies(v1_mount("memory", "/docker/abc"), "2:memory:/docker/abc\n")
    assert v1["memory"].own == Path("/sys/fs/cgroup/memory")
    v1, _ = parse_hierarchies(v1_mount("memory", "/docker/abc"), "2:memory:/\n")
    assert v1["memory"].own == Path("/sys/fs/cgroup/memory")


def test_no_cgroups_at_all() -> None:
    v1, v2 = parse_hierarchies("25 1 0:5 / /proc rw - proc proc rw", "")
    found = Cgroups.make("e", v1, v2)
    assert found.version == ""
    assert len(found.limits()) == 1
    plan = found.plan("c", {"memory": {"limit": 1, "swap": 2}, "pids": {"limit": 3}})
    assert plan["create"] == plan["write"] == plan["join"] == plan["remove"] == []
    assert len(plan["warnings"]) == 2


def test_blanks_in_a_mount_point() -> None:
    _, v2 = parse_hierarchies("30 25 0:26 / /mnt/a\\040b rw - cgroup2 cgroup2 rw", "0::/\n")
    assert v2 is not None
    assert v2.mount_point == Path("/mnt/a b")


@pytest.fixture
def fake_v1(tmp_path: Path) -> dict[str, Hierarchy]:
    found = {}
    for name in ("memory", "cpuacct", "devices", "pids", "freezer"):
        (tmp_path / name / "own").mkdir(parents=True)
        found[name] = Hierarchy(tmp_path / name, tmp_path / name / "own", frozenset([name]))
    return found


def test_a_plan_for_v1(fake_v1: dict[str, Hierarchy], tmp_path: Path) -> None:
    found = Cgroups.make("engine", fake_v1, None)
    assert found.version == "1"
    plan = found.plan("c1", {"devices": [{"allow": False, "access": "rwm"}]})
    base = [
        str(tmp_path / name / "own" / "labkernel" / "engine" / "c1")
        for name in ("memory", "cpuacct", "devices")
    ]
    assert plan["create"] == base
    assert plan["join"] == [path + "/tasks" for path in base]
    assert plan["write"] == [[base[2] + "/devices.deny", "a", ""]]
    assert plan["into"] == ""
    # Whatever may be joined later is removed too.
    assert str(tmp_path / "freezer" / "own" / "labkernel" / "engine" / "c1") in plan["remove"]
    assert plan["oom"] == [base[0] + "/memory.oom_control"]


def test_pausing_what_has_just_ended_leaves_no_group(fake_v1: dict[str, Hierarchy], tmp_path: Path) -> None:
    found = Cgroups.make("engine", fake_v1, None)
    base = tmp_path / "freezer" / "own" / "labkernel" / "engine"
    base.mkdir(parents=True, exist_ok=True)
    with pytest.raises(System, match="cannot pause"):
        found.freeze("c1")
    assert not list(base.iterdir())


def test_a_limit_joins_its_controller_and_a_missing_one_warns(
    fake_v1: dict[str, Hierarchy], tmp_path: Path
) -> None:
    found = Cgroups.make("engine", fake_v1, None)
    plan = found.plan("c1", {"pids": {"limit": 7}, "cpu": {"quota": 5, "period": 9, "cpus": "0"}})
    pids = str(tmp_path / "pids" / "own" / "labkernel" / "engine" / "c1")
    assert pids in plan["create"]
    assert plan["write"] == [[pids + "/pids.max", "7", ""]]
    assert [warning.split(" or ")[0] for warning in plan["warnings"]] == [
        "Your kernel does not support CPU CFS scheduler",
        "Your kernel does not support cpuset",
    ]


def test_controllers_mounted_together_share_a_directory(tmp_path: Path) -> None:
    (tmp_path / "both").mkdir()
    both = Hierarchy(tmp_path / "both", tmp_path / "both", frozenset(["memory", "cpuacct"]))
    plan = Cgroups.make("e", {"memory": both, "cpuacct": both}, None).plan("c", {})
    assert plan["create"] == plan["remove"] == [str(tmp_path / "both" / "labkernel" / "e" / "c")]


def fake_v2(top: Path, controllers: str = "cpu memory pids") -> Hierarchy:
    for directory in (top, top / "labkernel", top / "labkernel" / "engine"):
        directory.mkdir(exist_ok=True)
        (directory / "cgroup.controllers").write_text(controllers)
        (directory / "cgroup.subtree_control").write_text("")
    return Hierarchy(top, top, frozenset())


def test_a_plan_for_v2(tmp_path: Path) -> None:
    found = Cgroups.make("engine", {}, fake_v2(tmp_path))
    assert found.version == "2"
    plan = found.plan(
        "c1", {"memory": {"limit": 10, "swap": 30}, "devices": [{"allow": True, "access": "rwm"}]}
    )
    directory = str(tmp_path / "labkernel" / "engine" / "c1")
    assert plan["create"] == plan["remove"] == [directory]
    assert plan["into"] == directory
    assert plan["join"] == []
    assert len(bytes.fromhex(plan["device_program"])) % 8 == 0


def test_a_hybrid_machine_uses_v1_where_memory_is(fake_v1: dict[str, Hierarchy], tmp_path: Path) -> None:
    (tmp_path / "unified").mkdir()
    assert Cgroups.make("e", fake_v1, fake_v2(tmp_path / "unified")).version == "1"
    del fake_v1["memory"]
    assert Cgroups.make("engine", fake_v1, fake_v2(tmp_path / "unified")).version == "2"


def test_the_top_of_a_namespace_is_cleared_first(tmp_path: Path) -> None:
    """As for an engine in a container: processes in the top group would keep it from handing controllers
    down.
    """
    hierarchy = fake_v2(tmp_path)
    (tmp_path / "cgroup.type").write_text("domain\n")
    (tmp_path / "cgroup.procs").write_text("11\n12\n")
    (tmp_path / "init").mkdir()
    Cgroups.make("engine", {}, hierarchy)
    assert (tmp_path / "init" / "cgroup.procs").read_text() == "12"


@pytest.mark.parametrize(
    ("resources", "v1", "v2"),
    [
        (
            {"memory": {"limit": 100, "swap": 300}},
            [("memory", "memory.limit_in_bytes", "100"), ("memory", "memory.memsw.limit_in_bytes", "300")],
            [("memory", "memory.max", "100"), ("memory", "memory.swap.max", "200")],
        ),
        (
            {"memory": {"limit": 100, "swap": -1}},
            [("memory", "memory.limit_in_bytes", "100"), ("memory", "memory.memsw.limit_in_bytes", "-1")],
            [("memory", "memory.max", "100"), ("memory", "memory.swap.max", "max")],
        ),
        (
            {"cpu": {"shares": 1024, "period": 1000, "quota": 500}},
            [
                ("cpu", "cpu.shares", "1024"),
                ("cpu", "cpu.cfs_period_us", "1000"),
                ("cpu", "cpu.cfs_quota_us", "500"),
            ],
            [("cpu", "cpu.weight", "39"), ("cpu", "cpu.max", "500 1000")],
        ),
        (
            {"cpu": {"quota": -1}},
            [("cpu", "cpu.cfs_quota_us", "-1")],
            [("cpu", "cpu.max", "max 100000")],
        ),
        ({"pids": {"limit": 5}}, [("pids", "pids.max", "5")], [("pids", "pids.max", "5")]),
        (
            {"blockIO": {"weight": 10}},
            [("blkio", "blkio.weight", "10")],
            [("io", "io.bfq.weight", "10")],
        ),
    ],
)
def test_settings(resources: dict[str, Any], v1: list[Any], v2: list[Any]) -> None:
    assert v1_settings(resources) == v1
    assert v2_settings(resources) == v2


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 39), (262144, 10000), (0, 1)])
def test_shares_and_weight(shares: int, weight: int) -> None:
    assert shares_to_weight(shares) == weight


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ({"allow": False, "access": "rwm"}, "a"),
        ({"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"}, "c 1:3 r"),
        ({"allow": True, "type": "b", "access": "m"}, "b *:* m"),
    ],
)
def test_device_lines(rule: dict[str, Any], line: str) -> None:
    assert device_line(rule) == line


def test_the_engines_name_follows_its_directory(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    assert engine_name(tmp_path / "a") == engine_name(tmp_path / "link") != engine_name(tmp_path)


def test_statistics_of_v2(tmp_path: Path) -> None:
    for name, text in {
        "cpu.stat": "usage_usec 30\nuser_usec 20\nsystem_usec 10\n"
        "nr_periods 4\nnr_throttled 2\nthrottled_usec 7\n",
        "memory.current": "4096\n",
        "memory.max": "8192\n",
        "memory.stat": "anon 1\nfile 2\n",
        "pids.current": "3\n",
        "pids.max": "max\n",
        "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n",
    }.items():
        (tmp_path / name).write_text(text)
    found = cgroup_stats.read_v2(tmp_path)
    assert found["cpu_stats"]["cpu_usage"] == {
        "total_usage": 30000,
        "usage_in_kernelmode": 10000,
        "usage_in_usermode": 20000,
    }
    assert found["cpu_stats"]["throttling_data"] == {
        "periods": 4,
        "throttled_periods": 2,
        "throttled_time": 7000,
    }
    assert found["memory_stats"] == {"usage": 4096, "limit": 8192, "stats": {"anon": 1, "file": 2}}
    assert found["pids_stats"] == {"current": 3}
    assert found["blkio_stats"]["io_service_bytes_recursive"] == [
        {"major": 8, "minor": 0, "op": "read", "value": 10},
        {"major": 8, "minor": 0, "op": "write", "value": 20},
    ]


def test_no_limit_is_the_machines_memory(tmp_path: Path) -> None:
    (tmp_path / "memory.stat").write_text("anon 1\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert cgroup_stats.read_v2(tmp_path)["memory_stats"]["limit"] == cgroup_stats.total_memory()
