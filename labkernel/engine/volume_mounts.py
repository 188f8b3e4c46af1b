"""Volumes that are mounts: the local driver's options type, device and o, as mount(8) has them.

Such a volume is mounted over its directory while a container that has it runs, in the engine's own mount
namespace, whose end is also theirs.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from labkernel.engine.errors import InvalidParameter, System
from labkernel.engine.linux import mounts as m

OPTIONS = frozenset(("type", "device", "o", "size"))
_NEEDED = {"device": ("type",), "type": ("device",), "o": ("device", "type")}
_FLAGS: Mapping[str, tuple[int, int]] = {
    # set, cleared
    "defaults": (0, 0),
    "rw": (0, m.MS_RDONLY),
    "ro": (m.MS_RDONLY, 0),
    "suid": (0, m.MS_NOSUID),
    "nosuid": (m.MS_NOSUID, 0),
    "dev": (0, m.MS_NODEV),
    "nodev": (m.MS_NODEV, 0),
    "exec": (0, m.MS_NOEXEC),
    "noexec": (m.MS_NOEXEC, 0),
    "atime": (0, m.MS_NOATIME),
    "noatime": (m.MS_NOATIME, 0),
    "diratime": (0, m.MS_NODIRATIME),
    "nodiratime": (m.MS_NODIRATIME, 0),
    "relatime": (m.MS_RELATIME, 0),
    "norelatime": (0, m.MS_RELATIME),
    "strictatime": (m.MS_STRICTATIME, 0),
    "bind": (m.MS_BIND, 0),
    "rbind": (m.MS_BIND | m.MS_REC, 0),
}


def check_options(name: str, options: Mapping[str, str]) -> None:
    """Raises InvalidParameter, in Docker's words."""
    for option in options:
        if option not in OPTIONS:
            raise InvalidParameter(f'create {name}: invalid option: "{option}"')
    for option, needed in _NEEDED.items():
        for other in needed if option in options else ():
            if other not in options:
                raise InvalidParameter(f'create {name}: missing required option: "{other}"')
    if "size" in options:
        raise InvalidParameter(
            f"create {name}: quota size requested but no quota support",
            hint="--opt type=tmpfs --opt device=tmpfs --opt o=size=100m makes a volume of limited size",
        )


def is_mount(options: Mapping[str, str] | None) -> bool:
    return bool(options and (options.get("device") or options.get("type")))


def parse_mount_options(text: str) -> tuple[int, str]:
    """mount(8)'s comma list -> (flags, what the file system is told)."""
    flags, data = 0, []
    for word in filter(None, text.split(",")):
        if word in _FLAGS:
            added, taken = _FLAGS[word]
            flags = (flags | added) & ~taken
        else:
            data.append(word)
    return flags, ",".join(data)


def mount(options: Mapping[str, str], target: Path) -> None:
    """Raises System, in Docker's words."""
    device, kind = options.get("device", ""), options.get("type", "")
    if not device:
        raise System("missing device in volume options")
    flags, data = parse_mount_options(options.get("o", ""))
    try:
        try:
            m.mount(device, str(target), kind, flags, data)
        except OSError as error:
            # Where only one id is mapped there is nobody else to give it to.
            alone = ",".join(word for word in data.split(",") if not word.startswith(("uid=", "gid=")))
            if error.errno != errno.EINVAL or alone == data:
                raise
            m.mount(device, str(target), kind, flags, alone)
        if flags & m.MS_BIND and flags & ~(m.MS_BIND | m.MS_REC):  # flags of their own take a second call
            m.mount("", str(target), "", flags | m.MS_REMOUNT)
    except OSError as error:
        if os.path.ismount(target):
            m.umount2(str(target), m.MNT_DETACH)
        told = (f", flags: {flags:#x}" if flags else "") + (f", data: {data}" if data else "")
        reason = (error.strerror or "").lower()
        raise System(f"failed to mount local volume: mount {device}:{target}{told}: {reason}") from None


class VolumeMounts:
    """What is mounted at the moment, and for whom."""

    def __init__(self) -> None:
        self._users: dict[Path, set[str]] = {}

    def use(self, target: Path, options: Mapping[str, str], user: str) -> None:
        """Mount it there unless it is already. Raises System."""
        if target not in self._users:
            mount(options, target)
            self._users[target] = set()
        self._users[target].add(user)

    def release(self, user: str) -> None:
        """Unmount what nobody else uses."""
        for target, users in [*self._users.items()]:
            users.discard(user)
            if not users:
                self._unmount([target])

    def close(self) -> None:
        self._unmount([*self._users])

    def _unmount(self, targets: Iterable[Path]) -> None:
        for target in targets:
            del self._users[target]
            m.umount2(str(target), m.MNT_DETACH)
