"""The host's device nodes, as a container is given them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from labkernel.engine.errors import InvalidParameter
from labkernel.engine.runtime.spec import Device

#: A container's /dev has these of its own; the host's are not passed on.
_OWN = ("/dev/pts", "/dev/shm", "/dev/fd", "/dev/mqueue", "/dev/console", "/dev/ptmx")


def host_devices(host_path: str, container_path: str = "", permissions: str = "rwm") -> list[Device]:
    """The device at `host_path`, or every device below it where that is a directory, for --device.

    Raises InvalidParameter in Docker's words where there is none.
    """
    container_path = container_path or host_path
    try:
        status = os.stat(host_path)
    except OSError:
        status = None
    if status is not None and _kind(status) is not None:
        return [_device(container_path, status, permissions)]
    if status is not None and stat.S_ISDIR(status.st_mode):
        return [
            _device(container_path + path.removeprefix(host_path), found, permissions)
            for path, found in _below(host_path)
        ]
    raise InvalidParameter(
        f'error gathering device information while adding custom device "{host_path}": '
        + ("no such file or directory" if status is None else "not a device node")
    )


def all_host_devices() -> list[Device]:
    """Every device node of the host's /dev, for a privileged container."""
    return [
        _device(path, status, "rwm")
        for path, status in _below("/dev")
        if not any(path == own or path.startswith(own + "/") for own in _OWN)
    ]


def _below(directory: str) -> Iterator[tuple[str, os.stat_result]]:
    for parent, _, names in os.walk(directory):
        for name in sorted(names):
            path = os.path.join(parent, name)
            try:
                status = os.lstat(path)
            except OSError:  # gone meanwhile
                continue
            if _kind(status) is not None:
                yield path, status


def _kind(status: os.stat_result) -> str | None:
    if stat.S_ISCHR(status.st_mode):
        return "c"
    return "b" if stat.S_ISBLK(status.st_mode) else None


def _device(path: str, status: os.stat_result, permissions: str) -> Device:
    return Device(
        path,
        _kind(status) or "c",
        os.major(status.st_rdev),
        os.minor(status.st_rdev),
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        permissions,
    )
