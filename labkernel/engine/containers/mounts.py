"""Where a container's mounts come from: `-v`, `--mount`, `--tmpfs` and the image's VOLUME. Pure but for
`resolve`.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from labkernel.engine.errors import InvalidParameter, System
from labkernel.engine.linux.paths import NO_SYMLINKS
from labkernel.engine.runtime.spec import Mount
from labkernel.engine.volumes import Volumes, check_volume_name

_MODES = {"ro", "rw", "z", "Z", "nocopy", "consistent", "cached", "delegated"}
_TMPFS_OPTIONS = frozenset(
    (
        "async atime bind defaults dev diratime exec gid mode nodev noatime nodiratime noexec norelatime "
        "nosuid nr_blocks nr_inodes relatime remount ro rw size strictatime suid sync uid"
    ).split()
)
_PROPAGATIONS = {"private", "rprivate", "shared", "rshared", "slave", "rslave"}


@dataclass
class MountPoint:
    """One entry of a container's `Mounts`. For a volume, `source` is known once it is made."""

    type: str
    destination: str
    source: str = ""
    name: str = ""
    mode: str = ""
    writable: bool = True
    propagation: str = ""
    anonymous: bool = False
    must_exist: bool = False
    follow: bool = True
    """Whether the way to a bind mount's source may lead over symbolic links."""
    copy: bool = True
    labels: dict[str, str] | None = None
    listed: bool = True
    """Shown among the container's Mounts: what --tmpfs asked for is not."""
    tmpfs_options: list[str] = field(default_factory=list)
    driver: str = "local"
    driver_options: dict[str, str] | None = None

    def describe(self) -> dict[str, Any]:
        """As `docker inspect` shows it."""
        described: dict[str, Any] = {"Type": self.type}
        if self.type == "volume":
            described["Name"] = self.name
        described |= {"Source": self.source, "Destination": self.destination}
        if self.type == "volume":
            described["Driver"] = "local"
        return described | {"Mode": self.mode, "RW": self.writable, "Propagation": self.propagation}

    def mount(self) -> Mount:
        """As the runtime mounts it."""
        if self.type == "tmpfs":
            return Mount(self.destination, "tmpfs", "tmpfs", self.tmpfs_options)
        options = ["rbind", "rw" if self.writable else "ro"]
        if self.propagation:
            options.append(self.propagation)
        if not self.follow:
            options.append(NO_SYMLINKS)
        return Mount(self.destination, self.source, "bind", options)


def parse_bind(text: str) -> MountPoint:
    """`SOURCE:DESTINATION[:MODE,...]`, or `DESTINATION` alone for an anonymous volume, as
    `HostConfig.Binds` has them.

    Raises:
        InvalidParameter: in Docker's words.
    """
    parts = text.split(":")
    if not text or len(parts) > 3 or (len(parts) > 1 and not (parts[0] and parts[1])):
        raise InvalidParameter(f"invalid volume specification: '{text}'")
    if len(parts) == 1:
        return MountPoint("volume", _destination(parts[0], text), anonymous=True)
    source, destination = parts[0], _destination(parts[1], text)
    words = [word for word in parts[2].split(",") if word] if len(parts) == 3 else []
    propagation = next((word for word in words if word in _PROPAGATIONS), "")
    unknown = [word for word in words if word not in _MODES | _PROPAGATIONS]
    if unknown or (len(parts) == 3 and not words) or {"ro", "rw"} <= set(words):
        raise InvalidParameter(f"invalid mode: {parts[2]}")
    writable = "ro" not in words
    mode = ",".join(words)
    if source.startswith("/"):
        return MountPoint(
            "bind",
            destination,
            posixpath.normpath(source),
            mode=mode,
            writable=writable,
            propagation=propagation or "rprivate",
        )
    check_volume_name(source)
    return MountPoint(
        "volume", destination, name=source, mode=mode or "z", writable=writable, copy="nocopy" not in words
    )


def parse_mount(given: Mapping[str, Any]) -> MountPoint:
    """One entry of `HostConfig.Mounts`. Raises InvalidParameter."""
    kind = given.get("Type") or ""
    target = given.get("Target") or ""
    writable = not given.get("ReadOnly", False)
    if kind not in ("bind", "volume", "tmpfs"):
        raise InvalidParameter(f'invalid mount config for type "{kind}": mount type unknown')
    if not target:
        raise InvalidParameter(f'invalid mount config for type "{kind}": field Target must not be empty')
    if not target.startswith("/"):
        raise InvalidParameter(
            f'invalid mount config for type "{kind}": invalid mount path: '
            f"'{target}' mount path must be absolute"
        )
    destination = _destination(target, target)
    source = given.get("Source") or ""
    if kind == "bind":
        if not source:
            raise InvalidParameter('invalid mount config for type "bind": field Source must not be empty')
        if not source.startswith("/"):
            raise InvalidParameter(
                f'invalid mount config for type "bind": invalid mount path: '
                f"'{source}' mount path must be absolute"
            )
        propagation = (given.get("BindOptions") or {}).get("Propagation") or "rprivate"
        return MountPoint(
            "bind",
            destination,
            posixpath.normpath(source),
            writable=writable,
            propagation=propagation,
            must_exist=not (given.get("BindOptions") or {}).get("CreateMountpoint", False),
        )
    if kind == "volume":
        options = given.get("VolumeOptions") or {}
        if source:
            check_volume_name(source)
        return MountPoint(
            "volume",
            destination,
            name=source,
            mode="z",
            writable=writable,
            anonymous=not source,
            copy=not options.get("NoCopy", False),
            labels=options.get("Labels"),
            driver=(options.get("DriverConfig") or {}).get("Name") or "local",
            driver_options=(options.get("DriverConfig") or {}).get("Options"),
        )
    if source:
        raise InvalidParameter('invalid mount config for type "tmpfs": field Source must not be specified')
    options = given.get("TmpfsOptions") or {}
    words = ["nosuid", "nodev", "noexec"]
    if options.get("SizeBytes"):
        words.append(f"size={int(options['SizeBytes'])}")
    if options.get("Mode"):
        words.append(f"mode={int(options['Mode']):o}")
    return MountPoint("tmpfs", destination, writable=writable, tmpfs_options=words)


def mount_points(config: Mapping[str, Any], host_config: Mapping[str, Any]) -> list[MountPoint]:
    """All mounts that a description asks for; the container's own word wins over the image's VOLUME.

    Raises:
        InvalidParameter: one is malformed, or two have the same place.
    """
    found: dict[str, MountPoint] = {}
    asked = [parse_bind(text) for text in host_config["Binds"] or []]
    asked += [parse_mount(given) for given in host_config.get("Mounts") or []]
    for destination, options in (host_config.get("Tmpfs") or {}).items():
        if not destination.startswith("/"):
            raise InvalidParameter(f"invalid mount path: '{destination}' mount path must be absolute")
        words = [word for word in str(options).split(",") if word]
        unknown = [word for word in words if word.partition("=")[0] not in _TMPFS_OPTIONS]
        if unknown:
            raise InvalidParameter(
                f"invalid tmpfs option {str(unknown).replace(chr(39), chr(34)).replace(',', '')}"
            )
        point = MountPoint("tmpfs", os.path.normpath(destination), listed=False)
        point.tmpfs_options = ["nosuid", "nodev", "noexec", *words]
        asked.append(point)
    for point in asked:
        if point.destination in found:
            raise InvalidParameter(f"Duplicate mount point: {point.destination}")
        found[point.destination] = point
    for volume in config.get("Volumes") or {}:
        destination = _destination(volume, volume)
        found.setdefault(destination, MountPoint("volume", destination, anonymous=True))
    return list(found.values())


def resolve(point: MountPoint, volumes: Volumes, container_id: str) -> bool:
    """Find or make the mount's source; returns whether it is an empty volume, to be filled from the image.

    Raises:
        InvalidParameter: `--mount` names a path that is not there.
    """
    if point.type == "bind":
        if not os.path.exists(point.source):
            if point.must_exist:
                raise InvalidParameter(
                    f'invalid mount config for type "bind": bind source path does not exist: {point.source}'
                )
            try:
                os.makedirs(point.source, exist_ok=True)
            except OSError as error:
                reason = (error.strerror or "").lower()
                raise System(
                    f"error while creating mount source path '{point.source}': {reason}",
                    hint="make the directory first, where this engine's user may read it",
                ) from None
        return False
    if point.type != "volume":
        return False
    point.name = volumes.create(
        point.name,
        driver=point.driver,
        labels=point.labels,
        options=point.driver_options,
        anonymous=point.anonymous,
    )
    point.source = str(volumes.directory(point.name))
    volumes.use(point.name, container_id)
    return not os.listdir(point.source)


def _destination(path: str, whole: str) -> str:
    if not path.startswith("/"):
        raise InvalidParameter(
            f"invalid volume specification: '{whole}': invalid mount config for type \"bind\": "
            f"invalid mount path: '{path}' mount path must be absolute"
        )
    clean = posixpath.normpath(path)
    if clean in ("/", "//"):
        raise InvalidParameter(
            f"invalid volume specification: '{whole}': "
            "invalid mount config for type \"bind\": invalid specification: destination can't be '/'"
        )
    return clean
