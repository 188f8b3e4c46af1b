"""Build the config.json of a bundle, as the OCI runtime specification describes it. Pure: nothing is touched.

Source: https://github.com/opencontainers/runtime-spec (config.md, config-linux.md). The mounts, the masked
paths and the other defaults are those that Docker gives its containers.

What the specification has no word for is said so: a root file system that is an overlay is the first entry of
`mounts`, with destination "/"; the user's name and the names of further groups, which only the container's
own /etc/passwd and /etc/group can explain, are `process.user.username` and `process.user.additionalGroups`;
`init` and the name of the seccomp profile are annotations.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkernel.engine.errors import InvalidParameter
from labkernel.engine.runtime.capabilities import ALL_CAPABILITIES, DEFAULT_CAPABILITIES

SECCOMP_ANNOTATION = "labkernel.seccomp"
INIT_ANNOTATION = "labkernel.init"

#: Hidden from a container: each tells about the machine, or reaches the hardware.
MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
#: Readable only: each would set something for the whole machine.
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

#: What every container may use: (type, major, minor, access) with None for any. The nodes of a container's
#: /dev, pseudo
#: terminals, and making nodes (which is not opening them).
DEFAULT_DEVICE_RULES: tuple[tuple[str, int | None, int | None, str], ...] = (
    ("c", None, None, "m"),
    ("b", None, None, "m"),
    ("c", 1, 3, "rwm"),  # null
    ("c", 1, 5, "rwm"),  # zero
    ("c", 1, 7, "rwm"),  # full
    ("c", 1, 8, "rwm"),  # random
    ("c", 1, 9, "rwm"),  # urandom
    ("c", 5, 0, "rwm"),  # tty
    ("c", 5, 1, "rwm"),  # console
    ("c", 5, 2, "rwm"),  # ptmx
    ("c", 136, None, "rwm"),  # the terminals of devpts
)


@dataclass(frozen=True)
class Overlay:
    """A root file system of layers: `lower` lists directories, top first; `upper` takes what the container
    writes.
    """

    lower: Sequence[str]
    upper: str
    work: str


@dataclass(frozen=True)
class Mount:
    """One mount of the container. Type "bind" also takes the options "ro", "rbind" (the default), "rslave",
    "rshared".
    """

    destination: str
    source: str = ""
    type: str = "bind"
    options: Sequence[str] = ()


@dataclass(frozen=True)
class Device:
    """A device node for the container (see `devices.host_devices`); `permissions` are out of "rwm"."""

    path: str
    type: str
    major: int
    minor: int
    mode: int = 0o666
    uid: int = 0
    gid: int = 0
    permissions: str = "rwm"


@dataclass(frozen=True)
class Resources:
    """Limits by HostConfig's names and units: bytes, nanoCPUs (10^9 is one CPU), microseconds. 0 or "" is no
    limit.

    `memory_swap` counts memory and swap together, -1 is unlimited; `pids_limit` -1 is unlimited.
    """

    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool = False
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0
    blkio_weight: int = 0
    throttled: Mapping[str, Sequence[Mapping[str, int]]] = field(default_factory=dict)
    """runtime-spec's names of the lists -> [{"major", "minor", "rate"}]."""


@dataclass(frozen=True)
class SpecOptions:
    """What a container is to be; everything has Docker's default.

    One of `overlay` and `rootfs` is needed. `pid`, `ipc` and `uts` are "" for a namespace of its own, "host",
    or the path of a namespace ("/proc/123/ns/pid"). `network` is "" for a fresh empty one, "host", or a path.
    `cgroup` is "host" or "private" (Docker's default with cgroup v2). `env` is complete: nothing is added but
    HOME, by the launcher, from the user's entry in /etc/passwd. `device_cgroup_rules` are lines such as "c
    188:* rwm". None as masked or read-only paths means Docker's.
    """

    args: Sequence[str] = ("sh",)
    env: Sequence[str] = ()
    cwd: str = "/"
    user: str = ""
    additional_groups: Sequence[str] = ()
    terminal: bool = False
    hostname: str = ""
    domainname: str = ""
    overlay: Overlay | None = None
    rootfs: str | None = None
    readonly_rootfs: bool = False
    mounts: Sequence[Mount] = ()
    capabilities: Sequence[str] = DEFAULT_CAPABILITIES
    privileged: bool = False
    no_new_privileges: bool = False
    seccomp: str = "default"
    pid: str = ""
    ipc: str = ""
    uts: str = ""
    cgroup: str = "host"
    network: str = ""
    resources: Resources = field(default_factory=Resources)
    devices: Sequence[Device] = ()
    device_cgroup_rules: Sequence[str] = ()
    masked_paths: Sequence[str] | None = None
    readonly_paths: Sequence[str] | None = None
    sysctls: Mapping[str, str] = field(default_factory=dict)
    rlimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    shm_size: int = 64 * 1024 * 1024
    init: bool = False
    oom_score_adj: int = 0
    annotations: Mapping[str, str] = field(default_factory=dict)


def runtime_spec(options: SpecOptions) -> dict[str, Any]:
    """The config.json of a bundle, as a dict ready for json.dumps.

    Raises InvalidParameter for a sysctl that would reach beyond the container, and for a malformed device
    rule.
    """
    annotations = {**options.annotations, SECCOMP_ANNOTATION: _seccomp(options)}
    if options.init:
        annotations[INIT_ANNOTATION] = "true"
    process = process_spec(
        options.args,
        env=options.env,
        cwd=options.cwd,
        user=options.user,
        additional_groups=options.additional_groups,
        terminal=options.terminal,
        capabilities=options.capabilities,
        privileged=options.privileged,
        no_new_privileges=options.no_new_privileges,
    )
    process["rlimits"] = [
        {"type": f"RLIMIT_{name.upper()}", "soft": soft, "hard": hard}
        for name, (soft, hard) in options.rlimits.items()
    ]
    if options.oom_score_adj:
        process["oomScoreAdj"] = options.oom_score_adj
    masked, readonly = options.masked_paths, options.readonly_paths
    if options.privileged:
        masked, readonly = masked or (), readonly or ()
    return {
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": options.rootfs or "rootfs", "readonly": options.readonly_rootfs},
        "hostname": options.hostname,
        "domainname": options.domainname,
        "mounts": _mounts(options),
        "annotations": annotations,
        "linux": {
            "namespaces": _namespaces(options),
            "devices": [
                {
                    "path": device.path,
                    "type": device.type,
                    "major": device.major,
                    "minor": device.minor,
                    "fileMode": device.mode,
                    "uid": device.uid,
                    "gid": device.gid,
                }
                for device in options.devices
            ],
            "resources": {**resources_spec(options.resources), "devices": _device_rules(options)},
            "sysctl": _sysctls(options),
            "maskedPaths": list(MASKED_PATHS if masked is None else masked),
            "readonlyPaths": list(READONLY_PATHS if readonly is None else readonly),
        },
    }


def process_spec(
    args: Sequence[str],
    *,
    env: Sequence[str],
    cwd: str = "/",
    user: str = "",
    additional_groups: Sequence[str] = (),
    terminal: bool = False,
    capabilities: Sequence[str] = DEFAULT_CAPABILITIES,
    privileged: bool = False,
    no_new_privileges: bool = False,
) -> dict[str, Any]:
    """The `process` object of the specification: of a container's first process, or of one that exec adds."""
    granted = list(ALL_CAPABILITIES if privileged else capabilities)
    return {
        "terminal": terminal,
        "user": {"uid": 0, "gid": 0, "username": user, "additionalGroups": list(additional_groups)},
        "args": list(args),
        "env": list(env),
        "cwd": cwd or "/",
        "capabilities": {"bounding": granted, "effective": granted, "permitted": granted},
        "noNewPrivileges": no_new_privileges,
    }


def resources_spec(resources: Resources) -> dict[str, Any]:
    """`linux.resources` for these limits, without device rules; what is not limited is not there."""
    memory: dict[str, Any] = {}
    if resources.memory:
        memory["limit"] = resources.memory
        # Docker's rule: as much swap again as memory, unless said otherwise.
        memory["swap"] = resources.memory_swap or 2 * resources.memory
    if resources.memory_reservation:
        memory["reservation"] = resources.memory_reservation
    if resources.memory_swappiness is not None and resources.memory_swappiness >= 0:
        memory["swappiness"] = resources.memory_swappiness
    if resources.oom_kill_disable:
        memory["disableOOMKiller"] = True
    cpu: dict[str, Any] = {}
    if resources.cpu_shares:
        cpu["shares"] = resources.cpu_shares
    if resources.nano_cpus:
        cpu["period"] = 100_000
        cpu["quota"] = resources.nano_cpus * 100_000 // 1_000_000_000
    if resources.cpu_period:
        cpu["period"] = resources.cpu_period
    if resources.cpu_quota:
        cpu["quota"] = resources.cpu_quota
    if resources.cpuset_cpus:
        cpu["cpus"] = resources.cpuset_cpus
    if resources.cpuset_mems:
        cpu["mems"] = resources.cpuset_mems
    found: dict[str, Any] = {"memory": memory, "cpu": cpu}
    if resources.pids_limit:
        found["pids"] = {"limit": resources.pids_limit}
    block_io: dict[str, Any] = {name: list(devices) for name, devices in resources.throttled.items()}
    if resources.blkio_weight:
        block_io["weight"] = resources.blkio_weight
    found["blockIO"] = block_io
    return {name: value for name, value in found.items() if value}


def _seccomp(options: SpecOptions) -> str:
    return "unconfined" if options.privileged else options.seccomp


def _namespaces(options: SpecOptions) -> list[dict[str, str]]:
    """One entry for each namespace that is not the host's; with a path for those that exist already."""
    chosen = {
        "mount": "",
        "pid": options.pid,
        "ipc": options.ipc,
        "uts": options.uts,
        "network": options.network,
        "cgroup": "" if options.cgroup == "private" else "host",
    }
    return [
        {"type": name, "path": where} if where else {"type": name}
        for name, where in chosen.items()
        if where != "host"
    ]


def _mounts(options: SpecOptions) -> list[dict[str, Any]]:
    """The root, then Docker's own mounts except where the caller mounts something else, then the caller's,
    outer first.
    """
    own = {posixpath.normpath(mount.destination): mount for mount in options.mounts}
    found: list[Mount] = []
    if options.overlay is not None:
        overlay = options.overlay
        found.append(
            Mount(
                "/",
                "overlay",
                "overlay",
                (
                    "lowerdir=" + ":".join(_escape(path) for path in overlay.lower),
                    "upperdir=" + _escape(overlay.upper),
                    "workdir=" + _escape(overlay.work),
                ),
            )
        )
    for mount in _default_mounts(options):
        hidden = mount.destination.startswith("/dev/") and "/dev" in own
        if mount.destination not in own and not hidden:
            found.append(mount)
    found += sorted(own.values(), key=lambda mount: posixpath.normpath(mount.destination).count("/"))
    return [
        {
            "destination": mount.destination,
            "type": mount.type,
            "source": mount.source or mount.type,
            "options": _mount_options(mount),
        }
        for mount in found
    ]


def _mount_options(mount: Mount) -> list[str]:
    options = list(mount.options)
    if mount.type == "bind":
        if "bind" not in options and "rbind" not in options:
            options.insert(0, "rbind")
        if not {"private", "rprivate", "slave", "rslave", "shared", "rshared"} & set(options):
            options.append("rprivate")
    return options


def _default_mounts(options: SpecOptions) -> list[Mount]:
    writable = "rw" if options.privileged else "ro"
    hardened = ("nosuid", "noexec", "nodev")
    if options.ipc:
        # Shared memory goes with the IPC namespace: /proc/N/ns/ipc is that of /proc/N/root/dev/shm.
        other = "" if options.ipc == "host" else posixpath.dirname(posixpath.dirname(options.ipc)) + "/root"
        shared = Mount("/dev/shm", other + "/dev/shm", "bind", (*hardened, "rbind"))
    else:
        shared = Mount("/dev/shm", "shm", "tmpfs", (*hardened, "mode=1777", f"size={options.shm_size}"))
    return [
        Mount("/proc", "proc", "proc", hardened),
        Mount("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
        Mount(
            "/dev/pts",
            "devpts",
            "devpts",
            ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        ),
        Mount("/sys", "sysfs", "sysfs", (*hardened, writable)),
        Mount("/sys/fs/cgroup", "cgroup", "cgroup", (writable, *hardened, "relatime")),
        Mount("/dev/mqueue", "mqueue", "mqueue", hardened),
        shared,
    ]


def _escape(path: str) -> str:
    r"""Overlay's options end at a comma and its directories at a colon: `\` takes a character's meaning."""
    return re.sub(r"([\\:,])", r"\\\1", path)


_DEVICE_RULE = re.compile(r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})")


def _device_rules(options: SpecOptions) -> list[dict[str, Any]]:
    """The cgroup's device rules, in order, the last that matches deciding: nothing, then what is allowed."""
    if options.privileged:
        return [{"allow": True, "access": "rwm"}]
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    allowed = list(DEFAULT_DEVICE_RULES)
    allowed += [(device.type, device.major, device.minor, device.permissions) for device in options.devices]
    for line in options.device_cgroup_rules:
        match = _DEVICE_RULE.fullmatch(line)
        if match is None:
            raise InvalidParameter(f"invalid device cgroup rule format: '{line}'")
        kind, major, minor, access = match.groups()
        allowed.append(
            (kind, None if major == "*" else int(major), None if minor == "*" else int(minor), access)
        )
    for kind, found_major, found_minor, access in allowed:
        rule: dict[str, Any] = {"allow": True, "type": kind, "access": access}
        if found_major is not None:
            rule["major"] = found_major
        if found_minor is not None:
            rule["minor"] = found_minor
        rules.append(rule)
    return rules


_IPC_SYSCTLS = {
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
}


def _sysctls(options: SpecOptions) -> dict[str, str]:
    """The sysctls asked for, each checked to be the container's own and not the machine's."""
    for name in options.sysctls:
        dotted = name.replace("/", ".")
        if ".." in dotted:
            raise InvalidParameter(f'sysctl "{name}" is not in a separate kernel namespace')
        if dotted in _IPC_SYSCTLS or dotted.startswith("fs.mqueue."):
            if options.ipc == "host":
                raise InvalidParameter(f'sysctl "{name}" is not allowed in the hosts ipc namespace')
        elif dotted.startswith("net."):
            if options.network == "host":
                raise InvalidParameter(f'sysctl "{name}" not allowed in host network namespace')
        elif not (dotted == "kernel.domainname" and options.uts != "host"):
            raise InvalidParameter(f'sysctl "{name}" is not in a separate kernel namespace')
    return dict(options.sysctls)
