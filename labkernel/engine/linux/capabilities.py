"""Capability sets of the calling process: capset(2), and prctl(2) for the bounding and the ambient set."""

from __future__ import annotations

import ctypes

from labkernel.engine.linux.libc import function

TYPE_CHECKING = False  # typing itself is not loaded: see runtime.launcher
if TYPE_CHECKING:
    from collections.abc import Iterable

#: Every capability, in the kernel's order: the number of each is its place.
NAMES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)

#: The bit of each.
BITS = {name: 1 << number for number, name in enumerate(NAMES)}

_VERSION_3 = 0x20080522
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4


class _Header(ctypes.Structure):
    """struct __user_cap_header_struct."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    """struct __user_cap_data_struct; two of them hold 64 bits."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


_capset = function("capset", ctypes.POINTER(_Header), ctypes.POINTER(_Data))
_capget = function("capget", ctypes.POINTER(_Header), ctypes.POINTER(_Data))
_prctl = function("prctl", ctypes.c_int, *(ctypes.c_ulong,) * 4)


def mask(names: Iterable[str]) -> int:
    """The set as the kernel writes it: one bit each. A name this file does not know is left out."""
    bits = 0
    for name in names:
        bits |= BITS.get(name, 0)
    return bits


def names(bits: int) -> list[str]:
    """The names in a set, in the kernel's order."""
    return [name for number, name in enumerate(NAMES) if bits >> number & 1]


def capget() -> tuple[int, int, int]:
    """capget(2): the effective, permitted and inheritable set of this process."""
    data = (_Data * 2)()
    _capget(ctypes.byref(_Header(_VERSION_3, 0)), data)
    low, high = data
    return (
        low.effective | high.effective << 32,
        low.permitted | high.permitted << 32,
        low.inheritable | high.inheritable << 32,
    )


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2)."""
    word = 0xFFFFFFFF
    data = (_Data * 2)(
        _Data(effective & word, permitted & word, inheritable & word),
        _Data(effective >> 32, permitted >> 32, inheritable >> 32),
    )
    _capset(ctypes.byref(_Header(_VERSION_3, 0)), data)


def bounding_set() -> int:
    """The capabilities that this process or its children can ever have (PR_CAPBSET_READ)."""
    bits = 0
    for number in range(len(NAMES)):
        try:
            bits |= _prctl(PR_CAPBSET_READ, number, 0, 0, 0) << number
        except OSError:  # EINVAL: a kernel older than the capability
            break
    return bits


def drop_bounding(bits: int) -> None:
    """Remove these capabilities from the bounding set for good (PR_CAPBSET_DROP)."""
    for number in range(len(NAMES)):
        if bits >> number & 1:
            _prctl(PR_CAPBSET_DROP, number, 0, 0, 0)


def set_ambient(bits: int) -> None:
    """Make exactly these capabilities ambient: kept when a program without any of its own is executed."""
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for number in range(len(NAMES)):
        if bits >> number & 1:
            _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0)
