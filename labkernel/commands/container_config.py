"""From the flags of run and create to the body of POST /containers/create. Pure, but for files that flags
name.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labkernel.commands.errors import CommandError
from labkernel.commands.port_spec import expose_spec, publish_spec
from labkernel.commands.units import parse_size

Options = Mapping[str, Any]


def invalid(flag: str, value: str, reason: str, *, hint: str | None = None) -> CommandError:
    """A flag's value that makes no sense."""
    return CommandError(f'invalid argument "{value}" for "--{flag}" flag: {reason}', hint=hint, exit_code=125)


def container_config(options: Options, image: str, command: Sequence[str], *, detach: bool) -> dict[str, Any]:
    """The request's body. Raises CommandError for values that cannot be."""
    if options["rm"] and options["restart"] not in {"no", ""}:
        raise CommandError("conflicting options: cannot specify both --restart and --rm", exit_code=125)
    attached = {name.lower() for name in options["attach"]}
    if attached - {"stdin", "stdout", "stderr"}:
        raise invalid("attach", options["attach"][0], "valid streams are STDIN, STDOUT and STDERR")
    everything = not attached and not detach
    published, exposed = publish_spec(options["publish"])
    attach_stdin = "stdin" in attached or (everything and options["interactive"])
    config: dict[str, Any] = {
        "Hostname": options["hostname"] or "",
        "Domainname": options["domainname"] or "",
        "User": options["user"] or "",
        "AttachStdin": attach_stdin,
        "AttachStdout": "stdout" in attached or everything,
        "AttachStderr": "stderr" in attached or everything,
        "ExposedPorts": {port: {} for port in [*exposed, *expose_spec(options["expose"])]},
        "Tty": options["tty"],
        "OpenStdin": options["interactive"],
        "StdinOnce": options["interactive"] and attach_stdin,
        "Env": environment(options["env"], options["env-file"]),
        "Cmd": list(command) or None,
        "Image": image,
        "Volumes": {volume: {} for volume in options["volume"] if ":" not in volume},
        "WorkingDir": options["workdir"] or "",
        "Entrypoint": None if options["entrypoint"] is None else [options["entrypoint"]],
        "Labels": labels(options["label"], options["label-file"]),
        "Healthcheck": _healthcheck(options),
        "HostConfig": _host_config(options, published),
        "NetworkingConfig": _networking(options),
    }
    if options["mac-address"]:
        config["MacAddress"] = options["mac-address"]
    if options["stop-signal"]:
        config["StopSignal"] = options["stop-signal"]
    if options["stop-timeout"] is not None:
        config["StopTimeout"] = options["stop-timeout"]
    return config


def _host_config(options: Options, published: dict[str, list[dict[str, str]]]) -> dict[str, Any]:
    restart, _, times = options["restart"].partition(":")
    if times and not times.isdigit():
        raise invalid("restart", options["restart"], "maximum retry count must be an integer")
    return {
        "Binds": [_bind(volume) for volume in options["volume"] if ":" in volume] or None,
        "Mounts": [mount(text) for text in options["mount"]] or None,
        "Tmpfs": dict(_split(text, ":") for text in options["tmpfs"]) or None,
        "VolumesFrom": options["volumes-from"] or None,
        "VolumeDriver": options["volume-driver"] or "",
        "ContainerIDFile": options["cidfile"] or "",
        "LogConfig": {"Type": options["log-driver"] or "", "Config": _pairs("log-opt", options["log-opt"])},
        "NetworkMode": _network(options),
        "PortBindings": published,
        "PublishAllPorts": options["publish-all"],
        "RestartPolicy": {"Name": restart or "no", "MaximumRetryCount": int(times or 0)},
        "AutoRemove": options["rm"],
        "CapAdd": options["cap-add"] or None,
        "CapDrop": options["cap-drop"] or None,
        "CgroupnsMode": options["cgroupns"] or "",
        "Dns": options["dns"],
        "DnsOptions": options["dns-option"],
        "DnsSearch": options["dns-search"],
        "ExtraHosts": [_extra_host(text) for text in options["add-host"]] or None,
        "GroupAdd": options["group-add"] or None,
        "IpcMode": options["ipc"] or "",
        "Links": options["link"] or None,
        "OomScoreAdj": options["oom-score-adj"] or 0,
        "PidMode": options["pid"] or "",
        "Privileged": options["privileged"],
        "ReadonlyRootfs": options["read-only"],
        "SecurityOpt": [_security_option(text) for text in options["security-opt"]] or None,
        "StorageOpt": _pairs("storage-opt", options["storage-opt"]) or None,
        "UTSMode": options["uts"] or "",
        "UsernsMode": options["userns"] or "",
        "ShmSize": options["shm-size"] or 0,
        "Sysctls": _pairs("sysctl", options["sysctl"]) or None,
        "Annotations": _pairs("annotation", options["annotation"]) or None,
        "Runtime": options["runtime"] or "",
        "Init": options["init"] or None,
        "Devices": [_device(text) for text in options["device"]],
        "DeviceCgroupRules": options["device-cgroup-rule"] or None,
        "Ulimits": [ulimit(text) for text in options["ulimit"]] or None,
        **resources(options),
    }


def resources(options: Options) -> dict[str, Any]:
    """The limits that both create and update know, in HostConfig's names and units."""
    return {
        "Memory": options["memory"] or 0,
        "MemoryReservation": options["memory-reservation"] or 0,
        "MemorySwap": options["memory-swap"] or 0,
        "MemorySwappiness": options.get("memory-swappiness"),
        "OomKillDisable": options.get("oom-kill-disable") or None,
        "NanoCpus": options["cpus"] or 0,
        "CpuShares": options["cpu-shares"] or 0,
        "CpuPeriod": options["cpu-period"] or 0,
        "CpuQuota": options["cpu-quota"] or 0,
        "CpusetCpus": options["cpuset-cpus"] or "",
        "CpusetMems": options["cpuset-mems"] or "",
        "PidsLimit": options["pids-limit"],
        "BlkioWeight": options["blkio-weight"] or 0,
        "CgroupParent": options.get("cgroup-parent") or "",
    }


def environment(values: Sequence[str], files: Sequence[str]) -> list[str]:
    """NAME=VALUE pairs; a NAME alone takes the value from our own environment, or is left out when it has
    none.
    """
    lines = [line for name in files for line in _lines("env-file", name)]
    pairs = []
    for value in [*lines, *values]:
        name, equals, _ = value.partition("=")
        if not name:
            raise invalid("env", value, f"invalid environment variable: {value}")
        if equals:
            pairs.append(value)
        elif name in os.environ:
            pairs.append(f"{name}={os.environ[name]}")
    return pairs


def labels(values: Sequence[str], files: Sequence[str] = ()) -> dict[str, str]:
    """KEY=VALUE pairs; a KEY alone has the value ""."""
    lines = [line for name in files for line in _lines("label-file", name)]
    return dict(_split(value, "=") for value in [*lines, *values])


def _lines(flag: str, name: str) -> list[str]:
    try:
        text = Path(name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise CommandError(
            f"open {name}: {str(reason).lower()}", why=f"--{flag} {name}", exit_code=125
        ) from None
    lines = [line.lstrip() for line in text.splitlines()]
    for line in lines:
        if line and not line.startswith("#") and re.search(r"\s", line.partition("=")[0]):
            raise CommandError(
                f"poorly formatted environment: variable '{line.partition('=')[0]}' contains whitespaces",
                why=f"--{flag} {name}",
                exit_code=125,
            )
    return [line for line in lines if line and not line.startswith("#")]


def _split(text: str, separator: str) -> tuple[str, str]:
    left, _, right = text.partition(separator)
    return left, right


def _pairs(flag: str, values: Sequence[str]) -> dict[str, str]:
    for value in values:
        if "=" not in value:
            raise invalid(flag, value, "expected KEY=VALUE")
    return dict(_split(value, "=") for value in values)


def _network(options: Options) -> str:
    return str(options["network"] or options["net"] or "default")


def _networking(options: Options) -> dict[str, Any] | None:
    mode = _network(options)
    addresses = {
        key: options[flag] for key, flag in (("IPv4Address", "ip"), ("IPv6Address", "ip6")) if options[flag]
    }
    if not (options["network-alias"] or addresses):
        return None
    endpoint = {"Aliases": options["network-alias"] or None, "IPAMConfig": addresses or None}
    return {"EndpointsConfig": {mode: endpoint}}


def _bind(volume: str) -> str:
    """A relative source is a directory here, as `.` or ./name says; a bare name is a volume's."""
    source, rest = _split(volume, ":")
    if source.startswith("."):
        source = os.path.abspath(source)
    elif source.startswith("~"):
        source = os.path.expanduser(source)
    if not rest.startswith("/"):
        raise CommandError(
            f"invalid volume specification: '{volume}': the mount path must be absolute",
            hint="write it as /directory/here:/directory/in/the/container",
            exit_code=125,
        )
    return f"{source}:{rest}"


_MOUNT_KEYS = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}


def mount(text: str) -> dict[str, Any]:
    """--mount type=bind,source=/a,target=/b,readonly -> an entry of HostConfig.Mounts."""
    found: dict[str, Any] = {"Type": "volume", "Target": ""}
    bind: dict[str, Any] = {}
    volume: dict[str, Any] = {}
    tmpfs: dict[str, Any] = {}
    for item in next(csv.reader([text]), []):
        key, value = _split(item, "=")
        key = _MOUNT_KEYS.get(key.strip().lower(), key.strip().lower())
        match key:
            case "type":
                found["Type"] = value.lower()
            case "source":
                found["Source"] = os.path.abspath(value) if value.startswith(".") else value
            case "target":
                found["Target"] = value
            case "readonly":
                if value.lower() not in {"", "1", "true", "0", "false"}:
                    raise invalid("mount", text, f"invalid value for {key}: {value}")
                found["ReadOnly"] = value.lower() not in {"0", "false"}
            case "consistency":
                found["Consistency"] = value
            case "bind-propagation":
                bind["Propagation"] = value
            case "bind-nonrecursive":
                bind["NonRecursive"] = value.lower() in {"", "1", "true"}
            case "volume-nocopy":
                volume["NoCopy"] = value.lower() in {"", "1", "true"}
            case "volume-subpath":
                volume["Subpath"] = value
            case "volume-driver":
                volume.setdefault("DriverConfig", {})["Name"] = value
            case "volume-label":
                volume.setdefault("Labels", {}).update([_split(value, "=")])
            case "volume-opt":
                volume.setdefault("DriverConfig", {}).setdefault("Options", {}).update([_split(value, "=")])
            case "tmpfs-size":
                tmpfs["SizeBytes"] = parse_size(value)
            case "tmpfs-mode":
                tmpfs["Mode"] = int(value, 8)
            case _:
                raise invalid("mount", text, f"unexpected key '{key}' in '{item}'")
    if not found["Target"]:
        raise invalid("mount", text, "target is required", hint="add target=/directory/in/the/container")
    for name, extra in (("BindOptions", bind), ("VolumeOptions", volume), ("TmpfsOptions", tmpfs)):
        if extra:
            found[name] = extra
    return found


def ulimit(text: str) -> dict[str, Any]:
    """--ulimit nofile=1024:2048 -> {"Name": "nofile", "Soft": 1024, "Hard": 2048}."""
    match = re.fullmatch(r"(\w+)=(-?\d+)(?::(-?\d+))?", text)
    if not match:
        raise invalid("ulimit", text, f"invalid ulimit argument: {text}")
    return {"Name": match[1], "Soft": int(match[2]), "Hard": int(match[3] or match[2])}


def _device(text: str) -> dict[str, str]:
    parts = text.split(":")
    permissions = "rwm"
    if len(parts) > 1 and re.fullmatch("[rwm]+", parts[-1]):
        permissions = parts.pop()
    if not 1 <= len(parts) <= 2:
        raise invalid("device", text, f"invalid device specification: {text}")
    return {"PathOnHost": parts[0], "PathInContainer": parts[-1], "CgroupPermissions": permissions}


def _extra_host(text: str) -> str:
    """NAME:ADDRESS, or NAME=ADDRESS with the address in brackets or not."""
    name, separator, address = text.partition("=") if "=" in text else text.partition(":")
    if not (name and separator and address):
        raise invalid("add-host", text, f'bad format for add-host: "{text}"')
    return f"{name}:{address.removeprefix('[').removesuffix(']')}"


def _security_option(text: str) -> str:
    """The profile that seccomp=FILE names is sent, not its path: the engine may be elsewhere."""
    key, value = _split(text, "=")
    if key == "seccomp" and value not in {"unconfined", "builtin", ""}:
        try:
            return f"seccomp={Path(value).read_text()}"
        except OSError as error:
            raise CommandError(
                f"opening seccomp profile ({value}) failed: {(error.strerror or '').lower()}", exit_code=125
            ) from None
    return text


def _healthcheck(options: Options) -> dict[str, Any] | None:
    times = {
        "Interval": options["health-interval"],
        "Timeout": options["health-timeout"],
        "StartPeriod": options["health-start-period"],
        "StartInterval": options["health-start-interval"],
        "Retries": options["health-retries"],
    }
    given = {key: value for key, value in times.items() if value}
    if options["no-healthcheck"]:
        if given or options["health-cmd"]:
            raise CommandError("--no-healthcheck conflicts with --health-* options", exit_code=125)
        return {"Test": ["NONE"]}
    if options["health-cmd"]:
        given["Test"] = ["CMD-SHELL", options["health-cmd"]]
    return given or None
