"""A container's description: the body of `POST /containers/create`, completed and checked. Pure.

Two objects, as the Docker Engine API has them: Config is what belongs to the container wherever it runs,
HostConfig what ties it to this host. Both are kept as the API spells them, with every field that Docker's
inspect shows.
"""

from __future__ import annotations

import copy
import ipaddress
import os
import re
import signal
from collections.abc import Iterable, Mapping
from typing import Any

from labkernel.engine.containers import field_types, log_options
from labkernel.engine.errors import InvalidParameter
from labkernel.engine.image.config import CONTAINER_CONFIG
from labkernel.engine.network.ports import requested_ports
from labkernel.engine.runtime import seccomp_profile
from labkernel.engine.runtime.capabilities import ALL_CAPABILITIES

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
NAME_WORDS = "[a-zA-Z0-9][a-zA-Z0-9_.-]"
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MINIMUM_MEMORY = 6 << 20
"""Bytes: Docker refuses less, since no process could start in it."""

OPTIONAL_CONFIG = (
    "ExposedPorts",
    "Healthcheck",
    "ArgsEscaped",
    "NetworkDisabled",
    "MacAddress",
    "StopSignal",
    "StopTimeout",
    "Shell",
)

HOST_CONFIG: dict[str, Any] = {
    "Binds": None,
    "ContainerIDFile": "",
    "LogConfig": {"Type": "json-file", "Config": {}},
    "NetworkMode": "default",
    "PortBindings": None,
    "RestartPolicy": {"Name": "", "MaximumRetryCount": 0},
    "AutoRemove": False,
    "VolumeDriver": "",
    "VolumesFrom": None,
    "CapAdd": None,
    "CapDrop": None,
    "CgroupnsMode": "host",
    "Dns": None,
    "DnsOptions": None,
    "DnsSearch": None,
    "ExtraHosts": None,
    "GroupAdd": None,
    "IpcMode": "private",
    "Cgroup": "",
    "Links": None,
    "OomScoreAdj": 0,
    "PidMode": "",
    "Privileged": False,
    "PublishAllPorts": False,
    "ReadonlyRootfs": False,
    "SecurityOpt": None,
    "UTSMode": "",
    "UsernsMode": "",
    "ShmSize": 64 << 20,
    "Runtime": "labkernel",
    "ConsoleSize": [0, 0],
    "Isolation": "",
    "CpuShares": 0,
    "Memory": 0,
    "NanoCpus": 0,
    "CgroupParent": "",
    "BlkioWeight": 0,
    "BlkioWeightDevice": None,
    "BlkioDeviceReadBps": None,
    "BlkioDeviceWriteBps": None,
    "BlkioDeviceReadIOps": None,
    "BlkioDeviceWriteIOps": None,
    "CpuPeriod": 0,
    "CpuQuota": 0,
    "CpuRealtimePeriod": 0,
    "CpuRealtimeRuntime": 0,
    "CpusetCpus": "",
    "CpusetMems": "",
    "Devices": None,
    "DeviceCgroupRules": None,
    "DeviceRequests": None,
    "KernelMemory": 0,
    "KernelMemoryTCP": 0,
    "MemoryReservation": 0,
    "MemorySwap": 0,
    "MemorySwappiness": None,
    "OomKillDisable": False,
    "PidsLimit": None,
    "Ulimits": None,
    "CpuCount": 0,
    "CpuPercent": 0,
    "IOMaximumIOps": 0,
    "IOMaximumBandwidth": 0,
}
OPTIONAL_HOST_CONFIG = ("Mounts", "Tmpfs", "Sysctls", "Init", "StorageOpt", "Annotations")

_CAPABILITIES = {"ALL", *(name.removeprefix("CAP_") for name in ALL_CAPABILITIES)}
_RESTART_POLICIES = ("", "no", "always", "unless-stopped", "on-failure")
THROTTLED = {
    "BlkioDeviceReadBps": "throttleReadBpsDevice",
    "BlkioDeviceWriteBps": "throttleWriteBpsDevice",
    "BlkioDeviceReadIOps": "throttleReadIOPSDevice",
    "BlkioDeviceWriteIOps": "throttleWriteIOPSDevice",
}
"""Limits of single devices, and what the OCI runtime-spec calls them."""
_UNSERVED = {
    "CgroupParent": "the engine has a place of its own in the control groups",
    "BlkioWeightDevice": "few kernels weigh devices",
    "CpuRealtimePeriod": "real time is not handed to containers",
    "CpuRealtimeRuntime": "real time is not handed to containers",
    "KernelMemory": "kernels have no such limit any more",
    "KernelMemoryTCP": "kernels have no such limit any more",
}
_HEALTH_TIMES = ("Interval", "Timeout", "StartPeriod", "StartInterval")
_MINIMUM_HEALTH_TIME = 1_000_000
"""Nanoseconds."""


def complete(body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(Config, HostConfig) of a create body, each with every default filled in; types are checked.

    Raises:
        InvalidParameter: a field has the wrong type.
    """
    field_types.check(body, field_types.CREATE)
    config = _filled(body, CONTAINER_CONFIG, OPTIONAL_CONFIG)
    host_config = _filled(body.get("HostConfig") or {}, HOST_CONFIG, OPTIONAL_HOST_CONFIG)
    for words in (config, host_config):
        for key in ("Cmd", "Entrypoint", "Shell", "CapAdd", "CapDrop"):
            if isinstance(words.get(key), str):  # the API takes a string for a list of one
                words[key] = [words[key]]
    host_config["ConsoleSize"] = [*host_config["ConsoleSize"], 0, 0][:2]
    if not host_config["NetworkMode"]:
        host_config["NetworkMode"] = "default"
    if not host_config["ShmSize"]:
        host_config["ShmSize"] = HOST_CONFIG["ShmSize"]
    if not host_config["IpcMode"]:
        host_config["IpcMode"] = "private"
    host_config["LogConfig"] = {
        "Type": host_config["LogConfig"].get("Type") or "json-file",
        "Config": host_config["LogConfig"].get("Config") or {},
    }
    host_config["RestartPolicy"] = {
        "Name": host_config["RestartPolicy"].get("Name") or "",
        "MaximumRetryCount": host_config["RestartPolicy"].get("MaximumRetryCount") or 0,
    }
    if host_config["Memory"] > 0 and not host_config["MemorySwap"]:
        host_config["MemorySwap"] = 2 * host_config["Memory"]  # as much swap as memory, as Docker gives
    if host_config["PortBindings"] is None:
        return config, host_config
    host_config["PortBindings"] = {
        port if "/" in port else f"{port}/tcp": [
            {"HostIp": (host or {}).get("HostIp") or "", "HostPort": (host or {}).get("HostPort") or ""}
            for host in hosts or []
        ]
        for port, hosts in host_config["PortBindings"].items()
    }
    return config, host_config


def _filled(
    given: Mapping[str, Any], defaults: Mapping[str, Any], optional: tuple[str, ...]
) -> dict[str, Any]:
    filled = {}
    for key, default in defaults.items():
        value = given.get(key)
        filled[key] = copy.copy(default) if value is None else value
    for key in optional:
        if given.get(key) is not None:
            filled[key] = given[key]
    return filled


def merge_image(config: dict[str, Any], image: Mapping[str, Any]) -> None:
    """Complete `config` from the image's: the container's own word wins, lists of names are joined.

    Raises:
        InvalidParameter: neither says what to run.
    """
    if not config["User"]:
        config["User"] = image.get("User") or ""
    for key in ("ExposedPorts", "Volumes"):
        merged = {**(image.get(key) or {}), **(config.get(key) or {})}
        if merged:
            config[key] = merged
    names = {entry.partition("=")[0] for entry in config["Env"] or []}
    inherited = [entry for entry in image.get("Env") or [] if entry.partition("=")[0] not in names]
    if inherited or config["Env"]:
        config["Env"] = [*(config["Env"] or []), *inherited]
    config["Labels"] = {**(image.get("Labels") or {}), **(config["Labels"] or {})}
    if not config["Entrypoint"]:
        if not config["Cmd"]:
            config["Cmd"] = image.get("Cmd")
        if config["Entrypoint"] is None:
            config["Entrypoint"] = image.get("Entrypoint")
        elif config["Entrypoint"] in ([], [""]):
            config["Entrypoint"] = None
    elif config["Entrypoint"] == [""]:
        config["Entrypoint"] = None
    if not config["WorkingDir"]:
        config["WorkingDir"] = image.get("WorkingDir") or ""
    for key in ("StopSignal", "Shell"):
        if config.get(key) is None and image.get(key) is not None:
            config[key] = image[key]
    if config.get("Healthcheck") or image.get("Healthcheck"):
        given = {key: value for key, value in (config.get("Healthcheck") or {}).items() if value}
        config["Healthcheck"] = (image.get("Healthcheck") or {}) | given
    if image.get("OnBuild") and config["OnBuild"] is None:
        config["OnBuild"] = image["OnBuild"]
    if not (config["Cmd"] or config["Entrypoint"]):
        raise InvalidParameter("No command specified")


def command(config: Mapping[str, Any]) -> list[str]:
    """What is executed: entrypoint, then command."""
    return [*(config["Entrypoint"] or []), *(config["Cmd"] or [])]


def environment(config: Mapping[str, Any], links: Iterable[str] = ()) -> list[str]:
    """The process's environment, with the default PATH, HOSTNAME, TERM on a terminal, and what `links` tell,
    in Docker's order.
    """
    given = [entry for entry in config["Env"] or [] if "=" in entry]
    base = [DEFAULT_PATH, f"HOSTNAME={config['Hostname']}"]
    if config["Tty"]:
        base.append("TERM=xterm")
    merged = {entry.partition("=")[0]: entry for entry in [*base, *links, *given]}
    return list(merged.values())


def validate(config: Mapping[str, Any], host_config: Mapping[str, Any]) -> list[str]:
    """Check what can be checked before anything is made; returns warnings.

    Raises:
        InvalidParameter: in Docker's words.
    """
    warnings: list[str] = []
    if config["WorkingDir"] and not config["WorkingDir"].startswith("/"):
        raise InvalidParameter(
            f"the working directory '{config['WorkingDir']}' is invalid, it needs to be an absolute path"
        )
    for entry in config["Env"] or []:
        if not entry or entry.startswith("="):
            raise InvalidParameter(f"invalid environment variable: {entry}")
    if config.get("StopSignal"):
        signal_number(config["StopSignal"])
    for port in config.get("ExposedPorts") or {}:
        number, _, protocol = port.partition("/")
        if (
            not re.fullmatch(r"[0-9]{1,5}", number)
            or int(number) > 65535
            or protocol not in ("", "tcp", "udp", "sctp")
        ):
            raise InvalidParameter(f"invalid port specification: {port!r}".replace("'", '"'))
    if config.get("MacAddress") and not re.fullmatch(
        r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}", config["MacAddress"]
    ):
        raise InvalidParameter(f"invalid MAC address: {config['MacAddress']}")
    _check_health(config.get("Healthcheck") or {})
    for entry in host_config["ExtraHosts"] or []:
        _check_extra_host(entry)
    requested_ports(host_config)
    _validate_limits(host_config)
    _validate_policies(config, host_config)
    if host_config["NetworkMode"] == "host" and host_config["PortBindings"]:
        warnings.append("Published ports are discarded when using host network mode")
    if host_config["OomKillDisable"] and not host_config["Memory"]:
        warnings.append(
            "OOM killer is disabled for the container, but no memory limit is set, "
            "this can result in the system running out of resources."
        )
    return warnings + [
        f"{key} is kept in the configuration and not heeded: {why}"
        for key, why in _UNSERVED.items()
        if host_config.get(key)
    ]


def _check_health(check: Mapping[str, Any]) -> None:
    """Raises InvalidParameter."""
    for name in _HEALTH_TIMES:
        if check.get(name) and check[name] < _MINIMUM_HEALTH_TIME:
            raise InvalidParameter(f"{name} in Healthcheck cannot be less than 1ms")
    if (check.get("Retries") or 0) < 0:
        raise InvalidParameter("Retries in Healthcheck cannot be negative")


def _check_extra_host(entry: str) -> None:
    """`NAME:ADDRESS`, which becomes a line of /etc/hosts. Raises InvalidParameter."""
    name, colon, address = entry.partition(":")
    if not name or not colon or re.search(r"\s", name):
        raise InvalidParameter(f'bad format for add-host: "{entry}"')
    if address != "host-gateway":
        try:
            ipaddress.ip_address(address.strip("[]"))
        except ValueError:
            raise InvalidParameter(f'invalid IP address in add-host: "{address}"') from None


def _validate_limits(host_config: Mapping[str, Any]) -> None:
    memory, swap = host_config["Memory"], host_config["MemorySwap"]
    if 0 < memory < MINIMUM_MEMORY:
        raise InvalidParameter("Minimum memory limit allowed is 6MB")
    if memory and 0 < swap < memory:
        raise InvalidParameter("Minimum memoryswap limit should be larger than memory limit, see usage")
    if not memory and swap > 0:
        raise InvalidParameter(
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        )
    if memory and memory < host_config["MemoryReservation"]:
        raise InvalidParameter(
            "Minimum memory limit can not be less than memory reservation limit, see usage"
        )
    cpus = os.sysconf("SC_NPROCESSORS_ONLN")
    nano_cpus = host_config["NanoCpus"]
    if nano_cpus and host_config["CpuPeriod"]:
        raise InvalidParameter("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if nano_cpus and host_config["CpuQuota"]:
        raise InvalidParameter("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if nano_cpus and not 10_000_000 <= nano_cpus <= cpus * 1_000_000_000:
        raise InvalidParameter(
            f"Range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        )
    if host_config["CpuPeriod"] and not 1000 <= host_config["CpuPeriod"] <= 1_000_000:
        raise InvalidParameter(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if 0 < host_config["CpuQuota"] < 1000:
        raise InvalidParameter("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    wanted = host_config["CpusetCpus"]
    if not re.fullmatch(r"(\d+(-\d+)?(,\d+(-\d+)?)*)?", wanted):
        raise InvalidParameter(f"Invalid value {wanted} for cpuset cpus: invalid format: {wanted}")
    if any(int(number) >= cpus for number in re.findall(r"\d+", wanted)):
        raise InvalidParameter(
            f"Requested CPUs are not available - requested {wanted}, available: 0-{cpus - 1}"
        )
    swappiness = host_config["MemorySwappiness"]
    if swappiness is not None and not -1 <= swappiness <= 100:
        raise InvalidParameter(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")
    if host_config["ShmSize"] < 0:
        raise InvalidParameter("SHM size can not be less than 0")
    if not -1000 <= host_config["OomScoreAdj"] <= 1000:
        raise InvalidParameter(
            f"Invalid value {host_config['OomScoreAdj']}, range for oom score adj is [-1000, 1000]"
        )


def _validate_policies(config: Mapping[str, Any], host_config: Mapping[str, Any]) -> None:
    policy, retries = host_config["RestartPolicy"]["Name"], host_config["RestartPolicy"]["MaximumRetryCount"]
    if policy not in _RESTART_POLICIES:
        raise InvalidParameter(f"invalid restart policy '{policy}'")
    if retries and policy != "on-failure":
        raise InvalidParameter(f"maximum retry count cannot be used with restart policy '{policy}'")
    if retries < 0:
        raise InvalidParameter("maximum retry count cannot be negative")
    if host_config["AutoRemove"] and policy not in ("", "no"):
        raise InvalidParameter("can't create 'AutoRemove' container with restart policy")
    for key in ("CapAdd", "CapDrop"):
        for name in host_config[key] or []:
            if name.upper().removeprefix("CAP_") not in _CAPABILITIES:
                raise InvalidParameter(
                    f'invalid {key}: unknown capability: "CAP_{name.upper().removeprefix("CAP_")}"'
                )
    security_options(host_config)
    _check_unknown(host_config)
    if host_config["UTSMode"] == "host" and config["Hostname"]:
        raise InvalidParameter("conflicting options: hostname and the UTS mode")
    if not re.fullmatch(r"(private|shareable|none|host|container:.+)", host_config["IpcMode"]):
        raise InvalidParameter(f"Invalid IPC mode: {host_config['IpcMode']}")
    if host_config["Runtime"] not in ("", "runc", HOST_CONFIG["Runtime"]):
        raise InvalidParameter(f"Unknown runtime specified {host_config['Runtime']}")
    log_options.check(host_config["LogConfig"])


def _check_unknown(host_config: Mapping[str, Any]) -> None:
    """What Docker knows on other machines only, or nowhere. Raises InvalidParameter."""
    if host_config["Isolation"] not in ("", "default"):
        kind = host_config["Isolation"]
        raise InvalidParameter(f"Invalid isolation: \"{kind}\" - linux only supports 'default'")
    if host_config["CgroupnsMode"] not in ("", "host", "private"):
        raise InvalidParameter(f"invalid cgroup namespace mode: {host_config['CgroupnsMode']}")
    if host_config.get("StorageOpt"):
        raise InvalidParameter(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
            hint="a tmpfs or a volume with o=size=... limits what is written there",
        )
    for key in THROTTLED:
        for device in host_config[key] or ():
            if not os.path.exists(device.get("Path") or ""):
                raise InvalidParameter(f"stat {device.get('Path') or ''}: no such file or directory")
    for asked in host_config["DeviceRequests"] or ():
        wanted = " ".join(f"[{' '.join(words)}]" for words in asked.get("Capabilities") or ())
        raise InvalidParameter(
            f'could not select device driver "{asked.get("Driver") or ""}" with capabilities: [{wanted}]'
        )


def check_name(name: str, *, shown: str | None = None) -> str:
    """The container's name without its leading slash; `shown` is what an error calls it.

    Raises:
        InvalidParameter: not a name.
    """
    bare = name.removeprefix("/")
    if not NAME.fullmatch(bare):
        raise InvalidParameter(f"Invalid container name ({shown or name}), only {NAME_WORDS} are allowed")
    return bare


def signal_number(name: str | int) -> int:
    """`"SIGTERM"`, `"term"` or `"15"` -> 15.

    Raises:
        InvalidParameter: no such signal.
    """
    text = str(name).strip().upper()
    if re.fullmatch(r"-?[0-9]{1,9}", text):
        number = int(text)
        if 0 < number <= 64:
            return number
        raise InvalidParameter(f"The linux daemon does not support signal {number}")
    word = text.removeprefix("SIG")
    if match := re.fullmatch(r"RTM(IN|AX)([+-]\d{1,2})?", word):
        edge = signal.SIGRTMIN if match[1] == "IN" else signal.SIGRTMAX
        number = int(edge) + int(match[2] or 0)
        if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
            return number
    elif hasattr(signal, f"SIG{word}") and not word.startswith("_"):
        return int(getattr(signal, f"SIG{word}"))
    raise InvalidParameter(f"Invalid signal: {name}")


def security_options(host_config: Mapping[str, Any]) -> tuple[str, bool]:
    """(seccomp profile: "default", "unconfined" or JSON of one's own, no_new_privileges) of
    HostConfig.SecurityOpt. Raises InvalidParameter.
    """
    seccomp, no_new_privileges = "default", False
    for option in host_config["SecurityOpt"] or []:
        key, separator, value = re.sub(r"^([a-z-]+):", r"\1=", option).partition("=")
        if key == "no-new-privileges":
            no_new_privileges = value in ("", "true")
        elif key not in ("seccomp", "apparmor", "label", "systempaths"):
            raise InvalidParameter(f'invalid --security-opt 2: "{option}"')
        elif not separator:
            raise InvalidParameter(f'invalid --security-opt 1: "{option}"')
        elif key == "seccomp" and value == "unconfined":
            seccomp = "unconfined"
        elif key == "seccomp" and value not in ("", "default", "builtin"):
            seccomp_profile.parse(value)
            seccomp = value
    return seccomp, no_new_privileges
