"""Mounting: mount(2), umount2(2), pivot_root(2) and the calls that work on mounts by descriptor."""

from __future__ import annotations

import ctypes
import os

from labkernel.engine.linux.libc import function, system_call

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24

MNT_DETACH = 2

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_IDMAP = 0x100000

FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6

_mount = function("mount", ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_umount2 = function("umount2", ctypes.c_char_p, ctypes.c_int)
_pivot_root = system_call("pivot_root", ctypes.c_char_p, ctypes.c_char_p)
_open_tree = system_call("open_tree", ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_move_mount = system_call(
    "move_mount", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint
)
_fsopen = system_call("fsopen", ctypes.c_char_p, ctypes.c_uint)
_fsconfig = system_call(
    "fsconfig", ctypes.c_int, ctypes.c_uint, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int
)
_fsmount = system_call("fsmount", ctypes.c_int, ctypes.c_uint, ctypes.c_uint)


class _MountAttributes(ctypes.Structure):
    """struct mount_attr."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


_mount_setattr = system_call(
    "mount_setattr",
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_uint,
    ctypes.POINTER(_MountAttributes),
    ctypes.c_size_t,
)


def mount(source: str, target: str, filesystem: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2). `data` is at most a page (4095 bytes)."""
    _mount(
        os.fsencode(source),
        os.fsencode(target),
        os.fsencode(filesystem) or None,
        flags,
        os.fsencode(data) or None,
    )


def umount2(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _umount2(os.fsencode(target), flags)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2). With "." twice the old root lies on top of the new one, to be unmounted."""
    _pivot_root(os.fsencode(new_root), os.fsencode(put_old))


def open_tree(directory: int, path: str, flags: int) -> int:
    """open_tree(2): a descriptor of a mount; with OPEN_TREE_CLONE of a copy that is attached nowhere yet."""
    return _open_tree(directory, os.fsencode(path), flags)


def move_mount(from_fd: int, from_path: str, to_fd: int, to_path: str, flags: int) -> None:
    """move_mount(2)."""
    _move_mount(from_fd, os.fsencode(from_path), to_fd, os.fsencode(to_path), flags)


def mount_setattr(
    directory: int,
    path: str,
    flags: int,
    *,
    set: int = 0,
    clear: int = 0,
    propagation: int = 0,
    userns: int = 0,
) -> None:
    """mount_setattr(2), Linux 5.12: attributes of a mount, with AT_RECURSIVE of all below it too."""
    attributes = _MountAttributes(set, clear, propagation, userns)
    _mount_setattr(directory, os.fsencode(path), flags, ctypes.byref(attributes), ctypes.sizeof(attributes))


def fsopen(filesystem: str) -> int:
    """fsopen(2): begin a mount of this type."""
    return _fsopen(os.fsencode(filesystem), FSOPEN_CLOEXEC)


def fsconfig_set(fd: int, key: str, value: str | None = None) -> None:
    """fsconfig(2): one option. Unlike in mount(2) each value has its own limit, 255 bytes."""
    if value is None:
        _fsconfig(fd, FSCONFIG_SET_FLAG, os.fsencode(key), None, 0)
    else:
        _fsconfig(fd, FSCONFIG_SET_STRING, os.fsencode(key), os.fsencode(value), 0)


def fsconfig_create(fd: int) -> None:
    """fsconfig(2): make the file system of the options given."""
    _fsconfig(fd, FSCONFIG_CMD_CREATE, None, None, 0)


def fsmount(fd: int, attributes: int = 0) -> int:
    """fsmount(2): a mount of it, attached nowhere yet."""
    return _fsmount(fd, FSMOUNT_CLOEXEC, attributes)


def file_system_type(path: os.PathLike[str] | str) -> str:
    """The kernel's name for the file system that `path` is on (proc(5), mountinfo); "unknown" where it is
    not mounted as a device of its own.
    """
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mountinfo:
        for line in mountinfo:
            if line.split(" ", 3)[2] == wanted:
                return line.partition(" - ")[2].split(" ", 1)[0]
    return "unknown"
