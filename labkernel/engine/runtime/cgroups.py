"""Where a container's control groups are, what is written there, and what they say: v1, v2, both at once, or
neither.

Detection and plans only read, so they can be tried on a fake tree; the launcher carries plans out (see
`launcher.cgroup`). Every engine has one directory of its own, named after its state directory, below which
each container has one; so a later engine finds what a killed one left.

With v1 each controller has a tree of its own. A container is put into those that account for it (memory,
cpuacct) or protect the machine (devices), and into others only when a limit asks for them: each move costs
time. With v2 there is one tree. Sources: Documentation/admin-guide/cgroup-v1, cgroup-v2.rst of the kernel.
"""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkernel.engine.errors import System
from labkernel.engine.runtime import cgroup_stats, device_program, io_limits

PARENT = "labkernel"
#: v1 controllers that every container is in; "pids", "cpu", "cpuset", "blkio" and "freezer" are joined when
#: needed.
ALWAYS = ("memory", "cpuacct", "devices")
KNOWN = ("memory", "cpuacct", "devices", "pids", "cpu", "cpuset", "blkio", "freezer")
#: What v2 containers are limited by, where the kernel has it.
V2_CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")

Plan = dict[str, Any]


@dataclass(frozen=True)
class Hierarchy:
    """One mounted tree: `mount_point`, and `own`, the directory in it that this process is in."""

    mount_point: Path
    own: Path
    controllers: frozenset[str]


def parse_hierarchies(mountinfo: str, own_cgroups: str) -> tuple[dict[str, Hierarchy], Hierarchy | None]:
    """The v1 hierarchies by controller, and the v2 one, from the text of /proc/self/mountinfo and
    /proc/self/cgroup.

    A tree may be mounted from below its root (in a container): paths of /proc/self/cgroup count from the
    root.
    """
    own: dict[str, str] = {}
    for line in own_cgroups.splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(",") if names else [""]:
            own[name] = path
    v1: dict[str, Hierarchy] = {}
    v2: Hierarchy | None = None
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        root, mount_point = (_unescape(text) for text in before.split()[3:5])
        kind, _, super_options = after.split(" ", 2)
        if kind == "cgroup2":
            where = _inside(Path(mount_point), root, own.get("", "/"))
            v2 = Hierarchy(Path(mount_point), where, frozenset())
        elif kind == "cgroup":
            found = frozenset(super_options.split(",")) & frozenset(KNOWN)
            for name in found:
                where = _inside(Path(mount_point), root, own.get(name, "/"))
                v1[name] = Hierarchy(Path(mount_point), where, found)
    return v1, v2


def _unescape(text: str) -> str:
    """mountinfo writes blanks and backslashes as octal."""
    return text.encode().decode("unicode_escape") if "\\" in text else text


def _inside(mount_point: Path, root: str, path: str) -> Path:
    relative = os.path.relpath(path, root)
    return mount_point if relative == "." or relative.startswith("..") else mount_point / relative


@dataclass
class Cgroups:
    """The engine's directories: `v1` by controller, or `v2`; both empty where there is nothing to use."""

    name: str
    v1: dict[str, Path] = field(default_factory=dict)
    v2: Path | None = None
    controllers: frozenset[str] = frozenset()
    reasons: list[str] = field(default_factory=list)

    @classmethod
    def detect(cls, state_dir: Path) -> Cgroups:
        """Find what this machine has and make the engine's directories there."""
        v1, v2 = parse_hierarchies(
            Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text()
        )
        return cls.make(engine_name(state_dir), v1, v2)

    @classmethod
    def make(cls, name: str, v1: Mapping[str, Hierarchy], v2: Hierarchy | None) -> Cgroups:
        """Make the engine's directories in these hierarchies; v1 is used where its memory controller is."""
        found = cls(name)
        if "memory" in v1 or (v2 is None and v1):
            for controller, hierarchy in v1.items():
                directory = hierarchy.own / PARENT / name
                try:
                    _make_writable(directory)
                    if controller == "cpuset":
                        _inherit_cpuset(hierarchy.own, directory)
                except OSError as error:
                    found.reasons.append(str(error.strerror))
                    continue
                found.v1[controller] = directory
            found.controllers = frozenset(found.v1)
        elif v2 is not None:
            try:
                found.v2, found.controllers = _make_v2(v2, name)
            except OSError as error:
                found.reasons.append(str(error.strerror))
        return found

    @property
    def version(self) -> str:
        """ "1", "2", or "" for none."""
        if self.v2 is not None:
            return "2"
        return "1" if self.v1 else ""

    def limits(self) -> list[str]:
        """What cannot be limited or measured here, a sentence each."""
        why = f" ({'; '.join(sorted(set(self.reasons)))})" if self.reasons else ""
        if not self.version:
            return [
                f"Containers can not be limited: no control group is writable here{why}."
                " They are measured from /proc, and paused by signals, which programs can notice."
            ]
        words = {
            "memory": "memory",
            "cpu": "CPU time",
            "pids": "the number of processes",
            "cpuset": "the CPUs used",
        }
        return [
            f"Containers can not be limited in {text}: there is no control group controller {name}{why}."
            for name, text in words.items()
            if name not in self.controllers
        ]

    def tops(self) -> list[Path]:
        """The engine's own directories, that those of its containers are in."""
        return [self.v2] if self.v2 is not None else list(dict.fromkeys(self.v1.values()))

    def remove_stale(self) -> None:
        """Kill whatever runs in the engine's directories, and remove them but for the top ones."""
        deadline = time.monotonic() + 10
        for top in self.tops():
            for directory in sorted(_below(top), key=lambda path: -len(path.parts)):
                while not _removed(directory) and time.monotonic() < deadline:
                    _kill_all(directory)
                    time.sleep(0.005)

    def close(self) -> None:
        """Remove the engine's own directories, and the common parent when no other engine uses it."""
        for top in self.tops():
            for directory in (top, top.parent):
                try:
                    directory.rmdir()
                except OSError:
                    break

    def directory(self, container_id: str, controller: str) -> Path | None:
        """The container's directory that this controller is in, None where there is no such controller."""
        if self.v2 is not None:
            return self.v2 / container_id
        top = self.v1.get(controller)
        return None if top is None else top / container_id

    @property
    def freezes(self) -> bool:
        """Whether there is a freezer."""
        return self.v2 is not None or "freezer" in self.v1

    def freeze(self, container_id: str) -> None:
        """Stop every process of the container where it is, by the freezer."""
        self._set_freezer(container_id, "1", "FROZEN")

    def thaw(self, container_id: str) -> None:
        """Let it go on."""
        self._set_freezer(container_id, "0", "THAWED")

    def _set_freezer(self, container_id: str, v2_value: str, v1_value: str) -> None:
        directory = self.directory(container_id, "freezer")
        assert directory is not None
        try:
            if self.v2 is not None:
                (directory / "cgroup.freeze").write_text(v2_value)
                _wait_for(directory / "cgroup.events", f"frozen {v2_value}")
            else:
                self._join_late(container_id, "freezer")
                (directory / "freezer.state").write_text(v1_value)
                _wait_for(directory / "freezer.state", v1_value)
        except OSError as error:
            if v1_value == "THAWED" and error.errno in (errno.ENODEV, errno.ENOENT):
                return  # it has ended meanwhile, and its group with it
            raise System(f"cannot pause or resume container {container_id}: {error.strerror}") from None

    def _join_late(self, container_id: str, controller: str) -> None:
        """Bring every process of a container into one more v1 controller; forks meanwhile are caught by
        another round. One that has ended meanwhile leaves no group behind.
        """
        directory = self.v1[controller] / container_id
        directory.mkdir(exist_ok=True)
        target = directory / "cgroup.procs"
        for _ in range(100):
            processes = self.processes(container_id)
            missing = set(processes) - set(_pids(directory))
            if not missing:
                break
            for pid in missing:
                try:
                    target.write_text(str(pid))
                except ProcessLookupError:
                    continue
        if not processes:
            _removed(directory)

    def processes(self, container_id: str) -> list[int]:
        """The processes of a container, [] where there are no control groups."""
        for controller in ALWAYS:
            directory = self.directory(container_id, controller)
            if directory is not None:
                return _pids(directory)
        return []

    def update(self, container_id: str, resources: Mapping[str, Any]) -> list[str]:
        """Change limits of a running container; returns warnings, raises System for a value the kernel
        refuses.
        """
        warnings = []
        settings = v1_settings(resources) if self.v2 is None else v2_settings(resources)
        if ("memory", "memory.limit_in_bytes") in [setting[:2] for setting in settings]:
            settings = self._ordered(container_id, settings)
        for controller, name, value in settings:
            directory = self.directory(container_id, controller)
            if directory is None or controller not in self.controllers:
                warnings.append(
                    f"{name} is not enforced: this machine has no {controller} controller to use."
                )
                continue
            try:
                if self.v2 is None:
                    self._join_late(container_id, controller)
                (directory / name).write_text(value)
            except OSError as error:
                if name not in SOFT:
                    raise System(
                        f"Cannot update container {container_id}: {name}: {error.strerror}"
                    ) from None
                warnings.append(SOFT[name])
        return warnings

    def _ordered(self, container_id: str, settings: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
        """memory+swap may never be below memory: when raising both, the sum goes first."""
        directory = self.directory(container_id, "memory")
        sums = [setting for setting in settings if setting[1] == "memory.memsw.limit_in_bytes"]
        rest = [setting for setting in settings if setting not in sums]
        if directory is None or not sums or not (directory / sums[0][1]).exists():
            return settings
        raising = int(sums[0][2]) < 0 or int(sums[0][2]) > int((directory / sums[0][1]).read_text())
        return sums + rest if raising else rest + sums

    def stats(self, container_id: str) -> dict[str, Any]:
        """cpu_stats, memory_stats, pids_stats and blkio_stats as Docker's API has them."""
        directories = {name: self.directory(container_id, name) for name in KNOWN}
        if self.v2 is not None:
            return cgroup_stats.read_v2(self.v2 / container_id)
        return cgroup_stats.read_v1({name: path for name, path in directories.items() if path is not None})

    def plan(self, container_id: str, resources: Mapping[str, Any]) -> Plan:
        """What to make for a container with these `linux.resources`; see `launcher.cgroup` for the plan's
        form.

        A limit whose controller is missing is a warning in the plan.
        """
        plan: Plan = {
            "create": [],
            "write": [],
            "join": [],
            "into": "",
            "device_program": "",
            "thaw": [],
            "oom": [],
            "remove": [],
            "views": [],
            "warnings": [],
        }
        if self.v2 is not None:
            self._plan_v2(plan, self.v2 / container_id, resources)
        else:
            self._plan_v1(plan, container_id, resources)
        return plan

    def _plan_v2(self, plan: Plan, directory: Path, resources: Mapping[str, Any]) -> None:
        plan["create"] = plan["remove"] = [str(directory)]
        plan["into"] = str(directory)
        plan["thaw"] = [[str(directory / "cgroup.freeze"), "0"]]
        plan["oom"] = [str(directory / "memory.events")]
        for controller, name, value in v2_settings(resources):
            self._limit(plan, str(directory), controller, name, value)
        if "devices" in resources:
            plan["device_program"] = device_program.compile_rules(resources["devices"]).hex()

    def _plan_v1(self, plan: Plan, container_id: str, resources: Mapping[str, Any]) -> None:
        settings = v1_settings(resources)
        wanted = {*ALWAYS, *(setting[0] for setting in settings)}
        # Text, not Path: this is on the way of every start.
        everywhere = {name: f"{top}/{container_id}" for name, top in self.v1.items()}
        directories = {name: everywhere[name] for name in KNOWN if name in wanted and name in everywhere}
        # Controllers mounted together share a directory.
        plan["create"] = list(dict.fromkeys(directories.values()))
        # "tasks" moves one thread, the only one there is: the kernel spares it a lock that costs
        # milliseconds.
        plan["join"] = [path + "/tasks" for path in plan["create"]]
        plan["views"] = [[name, path] for name, path in directories.items()]
        plan["remove"] = list(dict.fromkeys(everywhere.values()))
        if "freezer" in everywhere:
            plan["thaw"] = [[everywhere["freezer"] + "/freezer.state", "THAWED"]]
        if "memory" in directories:
            plan["oom"] = [directories["memory"] + "/memory.oom_control"]
        for controller, name, value in settings:
            self._limit(plan, directories.get(controller), controller, name, value)

    def _limit(self, plan: Plan, directory: str | None, controller: str, name: str, value: str) -> None:
        there = directory is not None and controller in self.controllers
        if there and not (name in WEIGHTS and self._lacks(controller, name)):
            plan["write"].append([f"{directory}/{name}", value, SOFT.get(name, "")])
        elif controller != "devices":
            # (Without the devices controller a container is limited as its user is, who can make no nodes.)
            warning = MISSING.get(name) or MISSING[controller]
            if warning not in plan["warnings"]:
                plan["warnings"].append(warning)

    def _lacks(self, controller: str, name: str) -> bool:
        """Whether the kernel has no such file: weights are there only with a scheduler that heeds them."""
        top = self.v2 or self.v1.get(controller)
        return top is None or not (top / name).exists()


WEIGHTS = ("blkio.weight", "io.bfq.weight")
_LACKING = "or the cgroup is not mounted."
BLOCK_IO_WEIGHT = f"Your kernel does not support Block I/O weight {_LACKING} Weight discarded."
#: What is said for a limit whose controller is missing, by controller or by file, in Docker's words.
MISSING = {
    "memory": f"Your kernel does not support memory limit capabilities {_LACKING} Limitation discarded. "
    "(`labkernel engine status` says why)",
    "memory.soft_limit_in_bytes": f"Your kernel does not support memory soft limit capabilities {_LACKING} "
    "Limitation discarded.",
    "cpu": f"Your kernel does not support CPU CFS scheduler {_LACKING} Quota/Period discarded.",
    "cpu.shares": f"Your kernel does not support CPU shares {_LACKING} Shares discarded.",
    "cpu.weight": f"Your kernel does not support CPU shares {_LACKING} Shares discarded.",
    "cpuset": f"Your kernel does not support cpuset {_LACKING} CPUset discarded.",
    "pids": f"Your kernel does not support PIDs limit capabilities {_LACKING} PIDs limit discarded.",
    "blkio": BLOCK_IO_WEIGHT,
    "io": BLOCK_IO_WEIGHT,
    **io_limits.MISSING,
}
#: Limits that some kernels have not: a warning instead of a failed start, in Docker's words where it has
#: them.
SOFT = {
    "memory.memsw.limit_in_bytes": f"Your kernel does not support swap limit capabilities {_LACKING} "
    "Memory limited without swap.",
    "memory.swap.max": f"Your kernel does not support swap limit capabilities {_LACKING} "
    "Memory limited without swap.",
    "memory.swappiness": f"Your kernel does not support memory swappiness capabilities {_LACKING} "
    "Memory swappiness discarded.",
    "memory.oom_control": "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
}


def v1_settings(resources: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(controller, file, value) in the order they have to be written; pure."""
    memory, cpu = resources.get("memory", {}), resources.get("cpu", {})
    found: list[tuple[str, str, str]] = []

    def put(controller: str, name: str, value: Any) -> None:
        found.append((controller, f"{controller}.{name}", str(value)))

    if "limit" in memory:
        put("memory", "limit_in_bytes", memory["limit"])
        put("memory", "memsw.limit_in_bytes", memory["swap"])  # after the limit, which it may not be below
    if "reservation" in memory:
        put("memory", "soft_limit_in_bytes", memory["reservation"])
    if "swappiness" in memory:
        put("memory", "swappiness", memory["swappiness"])
    if memory.get("disableOOMKiller"):
        put("memory", "oom_control", 1)
    if "shares" in cpu:
        put("cpu", "shares", cpu["shares"])
    if "period" in cpu:
        put("cpu", "cfs_period_us", cpu["period"])
    if "quota" in cpu:
        put("cpu", "cfs_quota_us", cpu["quota"])
    if "cpus" in cpu:
        put("cpuset", "cpus", cpu["cpus"])
    if "mems" in cpu:
        put("cpuset", "mems", cpu["mems"])
    pids = resources.get("pids", {}).get("limit", 0)
    if pids > 0:
        put("pids", "max", pids)
    block_io = resources.get("blockIO", {})
    if "weight" in block_io:
        put("blkio", "weight", block_io["weight"])
    found += io_limits.v1_settings(block_io)
    for rule in resources.get("devices", ()):
        found.append(("devices", "devices.allow" if rule["allow"] else "devices.deny", device_line(rule)))
    return found


def v2_settings(resources: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(controller, file, value), v1's units turned into v2's; pure. Devices are not files in v2."""
    memory, cpu = resources.get("memory", {}), resources.get("cpu", {})
    found: list[tuple[str, str, str]] = []
    if "limit" in memory:
        found.append(("memory", "memory.max", str(memory["limit"])))
        swap = memory["swap"]
        # v1 counts memory and swap together, v2 apart.
        found.append(("memory", "memory.swap.max", "max" if swap < 0 else str(swap - memory["limit"])))
    if "reservation" in memory:
        found.append(("memory", "memory.low", str(memory["reservation"])))
    if "shares" in cpu:
        found.append(("cpu", "cpu.weight", str(shares_to_weight(cpu["shares"]))))
    if "quota" in cpu or "period" in cpu:
        quota = cpu.get("quota", 0)
        found.append(("cpu", "cpu.max", f"{quota if quota > 0 else 'max'} {cpu.get('period', 100_000)}"))
    if "cpus" in cpu:
        found.append(("cpuset", "cpuset.cpus", cpu["cpus"]))
    if "mems" in cpu:
        found.append(("cpuset", "cpuset.mems", cpu["mems"]))
    pids = resources.get("pids", {}).get("limit", 0)
    if pids:
        found.append(("pids", "pids.max", str(pids) if pids > 0 else "max"))
    block_io = resources.get("blockIO", {})
    if "weight" in block_io:
        found.append(("io", "io.bfq.weight", str(block_io["weight"])))
    return found + io_limits.v2_settings(block_io)


def shares_to_weight(shares: int) -> int:
    """v1's 2..262144 on v2's 1..10000, linearly, as OCI runtimes do."""
    return 1 + (max(2, min(262144, shares)) - 2) * 9999 // 262142


def device_line(rule: Mapping[str, Any]) -> str:
    """A rule as v1's devices.allow reads it: "c 1:3 rwm", or "a" for everything."""
    kind = rule.get("type", "a")
    if kind == "a" and "major" not in rule and "minor" not in rule:
        return "a"
    return f"{kind} {rule.get('major', '*')}:{rule.get('minor', '*')} {rule['access']}"


def engine_name(state_dir: Path) -> str:
    """The name of the engine's directory: the same for the same state directory, whatever process it is."""
    return hashlib.sha256(os.fsencode(os.path.realpath(state_dir))).hexdigest()[:12]


def _inherit_cpuset(own: Path, directory: Path) -> None:
    """A new v1 cpuset is empty, and nothing can live in it: give it what its parent has."""
    for child in (directory.parent, directory):
        for name in ("cpuset.cpus", "cpuset.mems"):
            if not (child / name).read_text().strip():
                (child / name).write_text((child.parent / name).read_text())
        (child / "cgroup.clone_children").write_text("1")


def _make_v2(hierarchy: Hierarchy, name: str) -> tuple[Path, frozenset[str]]:
    """The engine's directory in a v2 tree with what controllers can be had for those below it.

    Root uses the top of the tree, as Docker does. Others use the directory beside their own, if it is
    delegated to them; beside, since a group with processes in it can not hand controllers down.
    """
    candidates = [hierarchy.mount_point]
    if os.geteuid() != 0 or not os.access(hierarchy.mount_point, os.W_OK):
        candidates = [hierarchy.own.parent, hierarchy.own]
    failure: OSError | None = None
    for top in candidates:
        try:
            directory = top / PARENT / name
            _make_writable(directory)
            _make_room(top)
            for parent in (top, top / PARENT, directory):
                _enable_controllers(parent)
            enabled = (directory / "cgroup.subtree_control").read_text().split()
            return directory, frozenset(enabled)
        except OSError as error:
            failure = error
    assert failure is not None
    raise failure


def _make_writable(directory: Path) -> None:
    """Raises OSError; also where the directory is there and is mounted read-only here."""
    directory.mkdir(parents=True, exist_ok=True)
    if not os.access(directory, os.W_OK):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(directory))


def _make_room(top: Path) -> None:
    """In a container of its own the engine finds itself in the top group, which then can not hand controllers
    down: move what is there into a group below. The machine's real root is the only one without cgroup.type,
    and needs not.
    """
    if not (top / "cgroup.type").exists():
        return
    present = (top / "cgroup.procs").read_text().split()
    if not present:
        return
    room = top / "init"
    room.mkdir(exist_ok=True)
    for pid in present:
        try:
            (room / "cgroup.procs").write_text(pid)
        except ProcessLookupError:
            continue


def _enable_controllers(directory: Path) -> None:
    """Hand down each controller by itself: one that is refused must not take the others along."""
    available = (directory / "cgroup.controllers").read_text().split()
    for controller in V2_CONTROLLERS:
        if controller in available:
            try:
                (directory / "cgroup.subtree_control").write_text("+" + controller)
            except OSError:
                continue


def _pids(directory: Path) -> list[int]:
    try:
        return [int(line) for line in (directory / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def _wait_for(path: Path, text: str) -> None:
    """Freezing takes a moment: every process has to come to a stop."""
    deadline = time.monotonic() + 5
    while text not in path.read_text() and time.monotonic() < deadline:
        time.sleep(0.002)


def _below(top: Path) -> Iterator[Path]:
    for parent, names, _ in os.walk(top):
        for name in names:
            yield Path(parent, name)


def _removed(directory: Path) -> bool:
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _kill_all(directory: Path) -> None:
    for name, value in (("cgroup.freeze", "0"), ("freezer.state", "THAWED")):
        if (directory / name).exists():
            (directory / name).write_text(value)
    try:
        pids = (directory / "cgroup.procs").read_text().split()
    except OSError:
        return
    for pid in pids:
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue
