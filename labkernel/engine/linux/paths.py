"""Opening a path that cannot lead out of a root directory, whatever symbolic links lie on it: openat2(2)."""

from __future__ import annotations

import ctypes
import os
import time

from labkernel.engine.linux.libc import system_call
from labkernel.engine.linux.mounts import AT_FDCWD

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_IN_ROOT = 0x10
NO_SYMLINKS = "x-labkernel.no-symlinks"
"""The option of a bind mount whose source may be reached over no symbolic link: who is not trusted could put
one there after the path was looked at.
"""
#: How often a path is tried while others change mounts and names under it.
ATTEMPTS = 200


class _OpenHow(ctypes.Structure):
    """struct open_how."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_openat2 = system_call("openat2", ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_OpenHow), ctypes.c_size_t)


def openat2(
    directory: int, path: str | bytes, flags: int, *, mode: int = 0, resolve: int = RESOLVE_IN_ROOT
) -> int:
    """openat2(2), Linux 5.6.

    RESOLVE_IN_ROOT treats `directory` as the root: "..", absolute links and all stay inside.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    encoded, size = os.fsencode(path), ctypes.sizeof(how)
    for attempt in range(ATTEMPTS):
        try:
            return _openat2(directory, encoded, ctypes.byref(how), size)
        except BlockingIOError:
            # EAGAIN: anyone on the machine mounted or renamed meanwhile, so ".." could not be trusted.
            time.sleep(attempt * 1e-5)
    return _openat2(directory, encoded, ctypes.byref(how), size)


def open_source(path: str, *, follow: bool) -> int:
    """A descriptor (O_PATH) of what is to be bind-mounted. Raises OSError (ELOOP) for a link on its way that
    is not to be followed.
    """
    return openat2(AT_FDCWD, path, os.O_PATH, resolve=0 if follow else RESOLVE_NO_SYMLINKS)
