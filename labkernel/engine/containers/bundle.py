"""From a container's description to the OCI bundle that the launcher starts."""

from __future__ import annotations

import json
import os
import resource as rlimits
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labkernel.engine.containers import config as container_config
from labkernel.engine.containers.container import Container
from labkernel.engine.errors import InvalidParameter
from labkernel.engine.network.sandbox import Sandbox
from labkernel.engine.runtime.capabilities import container_capabilities
from labkernel.engine.runtime.devices import all_host_devices, host_devices
from labkernel.engine.runtime.spec import Device, Mount, Overlay, Resources, SpecOptions, runtime_spec

ROOT = "0"
"""The user of who names none: by number, and with the groups that the image gives root."""
#: What Docker Desktop calls the machine that its containers are on.
HOST_NAME = "host.docker.internal"
_HOSTS = (
    "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n"
    "ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
)


def write_bundle(
    container: Container,
    lower: Sequence[Path],
    sandbox: Sandbox,
    shared: Mapping[str, str],
    linked_hosts: Sequence[str] = (),
) -> Path:
    """Write config.json and the three files of /etc that belong to the container; returns the bundle's
    directory.

    `shared` maps pid, ipc and uts to "", "host" or a namespace's path; `linked_hosts` are
    "NAME...:ADDRESS" of linked containers.

    Raises:
        InvalidParameter: a limit, device, capability or sysctl that makes no sense.
    """
    config, host_config = container.config, container.host_config
    own_files = write_etc(container.directory, sandbox, config, host_config, linked_hosts)
    seccomp, no_new_privileges = container_config.security_options(host_config)
    options = SpecOptions(
        args=container.command,
        env=container_config.environment(config, container.link_environment),
        cwd=config["WorkingDir"] or "/",
        user=config["User"] or ROOT,
        additional_groups=host_config["GroupAdd"] or (),
        terminal=config["Tty"],
        hostname=config["Hostname"],
        domainname=config["Domainname"],
        overlay=Overlay([str(path) for path in lower], str(container.upper), str(container.work)),
        readonly_rootfs=host_config["ReadonlyRootfs"],
        mounts=[*own_files, *(point.mount() for point in container.mounts)],
        capabilities=container_capabilities(
            host_config["CapAdd"] or (), host_config["CapDrop"] or (), privileged=host_config["Privileged"]
        ),
        privileged=host_config["Privileged"],
        no_new_privileges=no_new_privileges,
        seccomp=seccomp,
        pid=shared.get("pid", ""),
        ipc=shared.get("ipc", ""),
        uts=shared.get("uts", ""),
        cgroup="private" if host_config["CgroupnsMode"] == "private" else "host",
        network=sandbox.netns_path or "host",
        resources=resources(host_config),
        devices=_devices(host_config),
        device_cgroup_rules=host_config["DeviceCgroupRules"] or (),
        sysctls=_sysctls(sandbox, host_config),
        rlimits=resource_limits(host_config),
        shm_size=host_config["ShmSize"],
        init=bool(host_config.get("Init")),
        oom_score_adj=host_config["OomScoreAdj"],
    )
    return save(container.directory, options)


def save(directory: Path, options: SpecOptions) -> Path:
    """Write config.json, and make the place its root is mounted on."""
    (directory / "rootfs").mkdir(mode=0o700, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(runtime_spec(options)))
    return directory


def write_etc(
    directory: Path,
    sandbox: Sandbox,
    config: Mapping[str, Any],
    host_config: Mapping[str, Any],
    linked_hosts: Sequence[str] = (),
) -> list[Mount]:
    """hostname, hosts and resolv.conf, each bind-mounted over the image's."""
    name = config["Hostname"]
    contents = {
        "resolv.conf": resolv_conf(sandbox, host_config),
        "hostname": f"{name}\n",
        "hosts": hosts(
            sandbox.addresses,
            name,
            config["Domainname"],
            [*(host_config["ExtraHosts"] or ()), *linked_hosts],
            sandbox.host_address,
            named=bool(sandbox.gateway),
        ),
    }
    mounts = []
    for file, content in contents.items():
        path = directory / file
        path.write_text(content)
        mounts.append(Mount(f"/etc/{file}", str(path), "bind", ("rbind",)))
    return mounts


def rewrite_etc(container: Container, sandbox: Sandbox) -> None:
    """Bring hosts and resolv.conf of a running container up to date with its networks; what was added to
    hosts inside stays.
    """
    name, domain = container.config["Hostname"], container.config["Domainname"]
    (container.directory / "resolv.conf").write_text(resolv_conf(sandbox, container.host_config))
    file = container.directory / "hosts"
    ending = own_line("", name, domain)
    written = file.read_text()
    ours = [ending]
    if not _names_host(container.host_config["ExtraHosts"] or ()):
        ours.append(f"\t{HOST_NAME}\n")
    kept = [line for line in written.splitlines(keepends=True) if not line.endswith(tuple(ours))]
    if len(ours) > 1 and sandbox.gateway:
        kept.append(f"{sandbox.host_address}\t{HOST_NAME}\n")
    file.write_text("".join([*kept, *(own_line(address, name, domain) for address in sandbox.addresses)]))


def hosts(
    addresses: Sequence[str],
    hostname: str,
    domainname: str,
    extra: Sequence[str],
    host: str,
    *,
    named: bool = False,
) -> str:
    """The content of /etc/hosts. `extra` are "NAME:ADDRESS" lines of --add-host; host-gateway is `host`, the
    address of the machine that the container is on, and left out where that is "". `named`: it gets the name
    that Docker Desktop gives it too.
    """
    if named and not _names_host(extra):
        extra = [*extra, f"{HOST_NAME}:host-gateway"]
    lines = _HOSTS
    for entry in extra:
        name, _, value = entry.partition(":")
        if address := host if value == "host-gateway" else value:
            lines += f"{address}\t{name}\n"
    return lines + "".join(own_line(address, hostname, domainname) for address in addresses)


def _names_host(extra: Sequence[str]) -> bool:
    """Whether the user says who has that name."""
    return any(entry.partition(":")[0] == HOST_NAME for entry in extra)


def own_line(address: str, hostname: str, domainname: str) -> str:
    """The container's line in its /etc/hosts for one of its addresses."""
    full = f"{hostname}.{domainname} {hostname}" if domainname else hostname
    return f"{address}\t{full}\n"


def resolv_conf(sandbox: Sandbox, host_config: Mapping[str, Any]) -> str:
    """The network's, with --dns, --dns-search and --dns-option in place of the lines they replace. Where the
    container has a name server of its own, that is the one to ask, and it asks those of --dns.
    """
    lines = sandbox.resolv_conf.splitlines()
    if sandbox.resolver:
        host_config = {**host_config, "Dns": None}
    for key, word in (("DnsSearch", "search"), ("Dns", "nameserver"), ("DnsOptions", "options")):
        if values := host_config[key]:
            lines = [line for line in lines if not line.startswith(word)]
            if word == "nameserver":
                lines += [f"nameserver {value}" for value in values]
            elif values != ["."]:
                lines.append(f"{word} {' '.join(values)}")
    if sandbox.resolver and "ndots:" not in "\n".join(lines):
        options = [line for line in lines if line.startswith("options ")]
        lines = [line for line in lines if line not in options]
        lines.append(" ".join([*options, "ndots:0"] if options else ["options", "ndots:0"]))
    return "\n".join(lines) + "\n"


def resources(host_config: Mapping[str, Any]) -> Resources:
    return Resources(
        memory=host_config["Memory"],
        memory_swap=host_config["MemorySwap"],
        memory_reservation=host_config["MemoryReservation"],
        memory_swappiness=host_config["MemorySwappiness"],
        oom_kill_disable=bool(host_config["OomKillDisable"]),
        nano_cpus=host_config["NanoCpus"],
        cpu_shares=host_config["CpuShares"],
        cpu_quota=host_config["CpuQuota"],
        cpu_period=host_config["CpuPeriod"],
        cpuset_cpus=host_config["CpusetCpus"],
        cpuset_mems=host_config["CpusetMems"],
        pids_limit=host_config["PidsLimit"] or 0,
        blkio_weight=host_config["BlkioWeight"],
        throttled=_throttled(host_config),
    )


def _throttled(host_config: Mapping[str, Any]) -> dict[str, list[dict[str, int]]]:
    """Raises InvalidParameter for a device that is not there."""
    found: dict[str, list[dict[str, int]]] = {}
    for key, name in container_config.THROTTLED.items():
        for given in host_config[key] or ():
            path = given.get("Path") or ""
            try:
                number = os.stat(path).st_rdev
            except OSError as error:
                reason = (error.strerror or "").lower()
                raise InvalidParameter(f"stat {path}: {reason}") from None
            rate = {"major": os.major(number), "minor": os.minor(number), "rate": given.get("Rate") or 0}
            found.setdefault(name, []).append(rate)
    return found


def _sysctls(sandbox: Sandbox, host_config: Mapping[str, Any]) -> dict[str, str]:
    """What is asked for, on top of what Docker gives a network namespace: low ports and ping need no
    privilege in it.
    """
    own_network = sandbox.netns_path is not None and not host_config["NetworkMode"].startswith("container:")
    defaults = {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": f"0 {_last_group(Path('/proc/self/gid_map').read_text())}",
    }
    return (defaults if own_network else {}) | (host_config.get("Sysctls") or {})


def _last_group(gid_map: str) -> int:
    """The highest group id of a user namespace, 2147483647 at most (user_namespaces(7)).

    A range may not end at a group that is not mapped.
    """
    rows = [[int(word) for word in line.split()] for line in gid_map.splitlines()]
    return min(2**31 - 1, max(inside + count - 1 for inside, _, count in rows))


def _devices(host_config: Mapping[str, Any]) -> list[Device]:
    if host_config["Privileged"]:
        return all_host_devices()
    devices: list[Device] = []
    for given in host_config["Devices"] or []:
        path = given.get("PathOnHost") or ""
        devices += host_devices(
            path, given.get("PathInContainer") or path, given.get("CgroupPermissions") or "rwm"
        )
    return devices


def resource_limits(host_config: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """--ulimit: (soft, hard) by name. Raises InvalidParameter."""
    limits = {}
    for given in host_config["Ulimits"] or []:
        name = str(given.get("Name", ""))
        soft, hard = int(given.get("Soft", -1)), int(given.get("Hard", -1))
        if not hasattr(rlimits, f"RLIMIT_{name.upper()}"):
            raise InvalidParameter(f"wrong rlimit value: RLIMIT_{name.upper()}")
        if 0 <= hard < soft:
            raise InvalidParameter(f"ulimit {name}: soft limit {soft} is above hard limit {hard}")
        limits[name] = (soft, hard)
    return limits
