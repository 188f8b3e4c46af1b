"""Build the config.json of a bundle, as the OCI runtime specification describes it. Pure: nothing is touched.

Source: https://github.com/opencontainers/runtime-spec (config.md, config-linux.md). The mounts, the masked paths and
the other defaults are those that Docker gives its containers.

What the specification has no word for is said so: a root file system that is an overlay is the first entry of
`mounts`, with destination "/"; the user's name, which only the container's own /etc/passwd can explain, is
`process.user.username`; `init` and the name of the seccomp profile are annotations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkernel.engine.runtime.capabilities import DEFAULT_CAPABILITIES


@dataclass(frozen=True)
class Overlay:
    """A root file system of layers: `lower` lists directories, top first; `upper` takes what the container writes."""

    lower: Sequence[str]
    upper: str
    work: str


@dataclass(frozen=True)
class Mount:
    """One mount of the container. Type "bind" also takes "ro", "rbind" (the default), "rprivate", "rslave", "rshared"."""

    destination: str
    source: str = ""
    type: str = "bind"
    options: Sequence[str] = ()


@dataclass(frozen=True)
class Device:
    """A device of the host given to the container; `permissions` are letters out of "rwm"."""

    host_path: str
    container_path: str = ""
    permissions: str = "rwm"


@dataclass(frozen=True)
class Resources:
    """Limits by HostConfig's names and units: bytes, nanoCPUs (10^9 is one CPU), microseconds. 0 or "" is no limit.

    `memory_swap` counts memory and swap together, -1 is unlimited; `pids_limit` 0 or -1 is unlimited.
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


@dataclass(frozen=True)
class SpecOptions:
    """What a container is to be; everything has Docker's default.

    One of `overlay` and `rootfs` is needed. `pid`, `ipc`, `uts` and `cgroup` are "" for a namespace of its own, "host", or
    the path of a namespace ("/proc/123/ns/pid"). `network` is "" for a fresh empty one, "host", or a path.
    `device_cgroup_rules` are lines such as "c 188:* rwm".
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
    cgroup: str = ""
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
    """The config.json of a bundle, as a dict ready for json.dumps."""
    raise NotImplementedError


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
    raise NotImplementedError
