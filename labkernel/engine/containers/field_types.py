"""The types of the fields that request bodies have, and a check of a body against them. Pure.

The words are dockerd's. Fields that are not listed are passed over, null stands for a field that is not
there, and a field's name is good in capitals and small letters alike, as Go's encoding/json has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labkernel.engine.errors import InvalidParameter


@dataclass(frozen=True)
class Leaf:
    """`go` is what the message calls it; a JSON value of the Python type `kind`."""

    go: str
    kind: type


@dataclass(frozen=True)
class Each:
    """A list, or an object of any keys, whose values are all of one type."""

    go: str
    kind: type
    element: Type


@dataclass(frozen=True)
class Struct:
    """An object with these fields."""

    go: str
    fields: Mapping[str, Type]


Type = Leaf | Each | Struct

TEXT, BOOL = Leaf("string", str), Leaf("bool", bool)
INT, INT64 = Leaf("int", int), Leaf("int64", int)
TEXTS = Each("[]string", list, TEXT)
WORDS = Leaf("string", list)
"""A list of strings, or a string alone."""
TEXT_MAP = Each("map[string]string", dict, TEXT)
OBJECT = Struct("struct {}", {})
_LARGEST = 1 << 63


def _structs(struct: Struct) -> Each:
    return Each(f"[]{struct.go}", list, struct)


_DEVICE_RATES = _structs(Struct("blkiodev.ThrottleDevice", {"Path": TEXT, "Rate": INT64}))
_CONSOLE_SIZE = Each("[2]uint", list, Leaf("uint", int))
_RESTART_POLICY = Struct("container.RestartPolicy", {"Name": TEXT, "MaximumRetryCount": INT})
_MOUNT = Struct(
    "mount.Mount",
    {
        "Type": Leaf("mount.Type", str),
        "Source": TEXT,
        "Target": TEXT,
        "ReadOnly": BOOL,
        "Consistency": TEXT,
        "BindOptions": Struct("mount.BindOptions", {"Propagation": TEXT, "CreateMountpoint": BOOL}),
        "VolumeOptions": Struct(
            "mount.VolumeOptions",
            {
                "NoCopy": BOOL,
                "Labels": TEXT_MAP,
                "DriverConfig": Struct("mount.Driver", {"Name": TEXT, "Options": TEXT_MAP}),
            },
        ),
        "TmpfsOptions": Struct("mount.TmpfsOptions", {"SizeBytes": INT64, "Mode": INT}),
    },
)
RESOURCES: dict[str, Type] = {
    "CpuShares": INT64,
    "Memory": INT64,
    "NanoCpus": INT64,
    "CgroupParent": TEXT,
    "BlkioWeight": INT,
    "BlkioWeightDevice": _structs(Struct("blkiodev.WeightDevice", {"Path": TEXT, "Weight": INT})),
    "BlkioDeviceReadBps": _DEVICE_RATES,
    "BlkioDeviceWriteBps": _DEVICE_RATES,
    "BlkioDeviceReadIOps": _DEVICE_RATES,
    "BlkioDeviceWriteIOps": _DEVICE_RATES,
    "CpuPeriod": INT64,
    "CpuQuota": INT64,
    "CpuRealtimePeriod": INT64,
    "CpuRealtimeRuntime": INT64,
    "CpusetCpus": TEXT,
    "CpusetMems": TEXT,
    "Devices": _structs(
        Struct(
            "container.DeviceMapping",
            {"PathOnHost": TEXT, "PathInContainer": TEXT, "CgroupPermissions": TEXT},
        )
    ),
    "DeviceCgroupRules": TEXTS,
    "DeviceRequests": _structs(Struct("container.DeviceRequest", {})),
    "KernelMemory": INT64,
    "KernelMemoryTCP": INT64,
    "MemoryReservation": INT64,
    "MemorySwap": INT64,
    "MemorySwappiness": INT64,
    "OomKillDisable": BOOL,
    "PidsLimit": INT64,
    "Ulimits": _structs(Struct("units.Ulimit", {"Name": TEXT, "Soft": INT64, "Hard": INT64})),
    "CpuCount": INT64,
    "CpuPercent": INT64,
    "IOMaximumIOps": INT64,
    "IOMaximumBandwidth": INT64,
}
UPDATE = Struct("container.UpdateConfig", {**RESOURCES, "RestartPolicy": _RESTART_POLICY})
HOST_CONFIG = Struct(
    "container.HostConfig",
    {
        **RESOURCES,
        "Binds": TEXTS,
        "ContainerIDFile": TEXT,
        "LogConfig": Struct("container.LogConfig", {"Type": TEXT, "Config": TEXT_MAP}),
        "NetworkMode": TEXT,
        "PortBindings": Each(
            "nat.PortMap", dict, _structs(Struct("nat.PortBinding", {"HostIp": TEXT, "HostPort": TEXT}))
        ),
        "RestartPolicy": _RESTART_POLICY,
        "AutoRemove": BOOL,
        "VolumeDriver": TEXT,
        "VolumesFrom": TEXTS,
        "CapAdd": WORDS,
        "CapDrop": WORDS,
        "CgroupnsMode": TEXT,
        "Dns": TEXTS,
        "DnsOptions": TEXTS,
        "DnsSearch": TEXTS,
        "ExtraHosts": TEXTS,
        "GroupAdd": TEXTS,
        "IpcMode": TEXT,
        "Cgroup": TEXT,
        "Links": TEXTS,
        "OomScoreAdj": INT,
        "PidMode": TEXT,
        "Privileged": BOOL,
        "PublishAllPorts": BOOL,
        "ReadonlyRootfs": BOOL,
        "SecurityOpt": TEXTS,
        "UTSMode": TEXT,
        "UsernsMode": TEXT,
        "ShmSize": INT64,
        "Runtime": TEXT,
        "ConsoleSize": _CONSOLE_SIZE,
        "Isolation": TEXT,
        "Mounts": _structs(_MOUNT),
        "Tmpfs": TEXT_MAP,
        "Sysctls": TEXT_MAP,
        "Init": BOOL,
        "StorageOpt": TEXT_MAP,
        "Annotations": TEXT_MAP,
    },
)
_ENDPOINT = Struct(
    "network.EndpointSettings",
    {
        "IPAMConfig": Struct(
            "network.EndpointIPAMConfig",
            {"IPv4Address": TEXT, "IPv6Address": TEXT, "LinkLocalIPs": TEXTS},
        ),
        "Links": TEXTS,
        "Aliases": TEXTS,
        "MacAddress": TEXT,
        "DriverOpts": TEXT_MAP,
    },
)
NETWORK = Struct(
    "types.NetworkCreateRequest",
    {
        "Name": TEXT,
        "Driver": TEXT,
        "Internal": BOOL,
        "Attachable": BOOL,
        "Ingress": BOOL,
        "EnableIPv6": BOOL,
        "Options": TEXT_MAP,
        "Labels": TEXT_MAP,
        "IPAM": Struct(
            "network.IPAM",
            {
                "Driver": TEXT,
                "Options": TEXT_MAP,
                "Config": _structs(
                    Struct(
                        "network.IPAMConfig",
                        {
                            "Subnet": TEXT,
                            "IPRange": TEXT,
                            "Gateway": TEXT,
                            "AuxiliaryAddresses": TEXT_MAP,
                        },
                    )
                ),
            },
        ),
    },
)
NETWORK_CONNECT = Struct("types.NetworkConnect", {"Container": TEXT, "EndpointConfig": _ENDPOINT})
NETWORK_DISCONNECT = Struct("types.NetworkDisconnect", {"Container": TEXT, "Force": BOOL})
CREATE = Struct(
    "runconfig.ContainerConfigWrapper",
    {
        "Hostname": TEXT,
        "Domainname": TEXT,
        "User": TEXT,
        "AttachStdin": BOOL,
        "AttachStdout": BOOL,
        "AttachStderr": BOOL,
        "ExposedPorts": Each("nat.PortSet", dict, OBJECT),
        "Tty": BOOL,
        "OpenStdin": BOOL,
        "StdinOnce": BOOL,
        "Env": TEXTS,
        "Cmd": WORDS,
        "Healthcheck": Struct(
            "container.HealthConfig",
            {
                "Test": TEXTS,
                **dict.fromkeys(("Interval", "Timeout", "StartPeriod", "StartInterval"), INT64),
                "Retries": INT,
            },
        ),
        "ArgsEscaped": BOOL,
        "Image": TEXT,
        "Volumes": Each("map[string]struct {}", dict, OBJECT),
        "WorkingDir": TEXT,
        "Entrypoint": WORDS,
        "NetworkDisabled": BOOL,
        "MacAddress": TEXT,
        "OnBuild": TEXTS,
        "Labels": TEXT_MAP,
        "StopSignal": TEXT,
        "StopTimeout": INT,
        "Shell": WORDS,
        "HostConfig": HOST_CONFIG,
        "NetworkingConfig": Struct(
            "network.NetworkingConfig",
            {"EndpointsConfig": Each("map[string]*network.EndpointSettings", dict, _ENDPOINT)},
        ),
    },
)
EXEC = Struct(
    "types.ExecConfig",
    {
        "User": TEXT,
        "Privileged": BOOL,
        "Tty": BOOL,
        "AttachStdin": BOOL,
        "AttachStderr": BOOL,
        "AttachStdout": BOOL,
        "DetachKeys": TEXT,
        "Env": TEXTS,
        "WorkingDir": TEXT,
        "Cmd": TEXTS,
    },
)
EXEC_START = Struct("types.ExecStartCheck", {"Detach": BOOL, "Tty": BOOL, "ConsoleSize": _CONSOLE_SIZE})
VOLUME = Struct(
    "volume.VolumeCreateBody", {"Driver": TEXT, "DriverOpts": TEXT_MAP, "Labels": TEXT_MAP, "Name": TEXT}
)


def check(body: dict[str, Any], struct: Struct, path: tuple[str, ...] = ()) -> None:
    """Gives the fields in `body` the names that they have in `struct`.

    Raises InvalidParameter, naming the field, for a value of the wrong type; also for text with a null byte,
    which no system call takes.
    """
    _name_fields(body, struct.fields)
    for name, kind in struct.fields.items():
        _check(body.get(name), kind, struct, (*path, name))


def _name_fields(body: dict[str, Any], fields: Mapping[str, Type]) -> None:
    """Of two spellings of one name the later counts."""
    if body.keys() <= fields.keys():
        return
    names = {name.lower(): name for name in fields}
    given = list(body.items())
    body.clear()
    for name, value in given:
        body[names.get(name.lower(), name)] = value


def _check(value: Any, kind: Type, struct: Struct, path: tuple[str, ...], *, empty: bool = True) -> None:
    if value is None and empty:
        return
    if kind is WORDS and isinstance(value, list) and all(isinstance(word, str) for word in value):
        for word in value:
            _check(word, TEXT, struct, path)
    elif kind is WORDS and isinstance(value, str):
        _check(value, TEXT, struct, path)
    elif isinstance(kind, Struct) and isinstance(value, dict):
        check(value, kind, path)
    elif isinstance(kind, Each) and isinstance(value, (list, dict)) and isinstance(value, kind.kind):
        if isinstance(value, dict):
            for key, element in value.items():
                _check(key, TEXT, struct, path)
                _check(element, kind.element, struct, path, empty=kind.element is not TEXT)
        else:
            for element in value:
                _check(element, kind.element, struct, path, empty=False)
    elif isinstance(kind, Leaf) and kind.kind is not list and _is(value, kind):
        if isinstance(value, str) and "\0" in value:
            raise InvalidParameter(f"invalid argument: {'.'.join(path)} has a null byte")
    else:
        raise InvalidParameter(
            f"json: cannot unmarshal {_describe(value, kind)} into Go struct field "
            f"{struct.go.rpartition('.')[2]}.{'.'.join(path)} of type {kind.go}"
        )


def _is(value: Any, leaf: Leaf) -> bool:
    if leaf.kind is int:
        least = 0 if leaf.go == "uint" else -_LARGEST
        return isinstance(value, int) and not isinstance(value, bool) and least <= value < _LARGEST
    return isinstance(value, leaf.kind)


def _describe(value: Any, kind: Type) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return f"number {value}" if isinstance(kind, Leaf) and kind.kind is int else "number"
    if value is None:
        return "null"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"
