"""Namespaces: entering one (setns), leaving one (unshare)."""

from __future__ import annotations

import ctypes

from labkernel.engine.linux.libc import function

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

#: The clone flag of each namespace, by the name that the OCI runtime specification gives it.
FLAGS = {
    "cgroup": CLONE_NEWCGROUP,
    "ipc": CLONE_NEWIPC,
    "mount": CLONE_NEWNS,
    "network": CLONE_NEWNET,
    "pid": CLONE_NEWPID,
    "user": CLONE_NEWUSER,
    "uts": CLONE_NEWUTS,
}

_setns = function("setns", ctypes.c_int, ctypes.c_int)
_unshare = function("unshare", ctypes.c_int)
_setdomainname = function("setdomainname", ctypes.c_char_p, ctypes.c_size_t)


def setns(fd: int, flags: int) -> None:
    """setns(2). `fd` is a namespace, or a pidfd: then `flags` chooses which of that process's namespaces
    (Linux 5.8).

    CLONE_NEWPID moves only children born later.
    """
    _setns(fd, flags)


def unshare(flags: int) -> None:
    """unshare(2)."""
    _unshare(flags)


def setdomainname(name: str) -> None:
    """setdomainname(2): the NIS domain of the UTS namespace."""
    encoded = name.encode()
    _setdomainname(encoded, len(encoded))
