"""Opening a path that cannot lead out of a root directory, whatever symbolic links lie on it: openat2(2)."""

from __future__ import annotations

import ctypes
import os

from labkernel.engine.linux.libc import system_call

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10


class _OpenHow(ctypes.Structure):
    """struct open_how."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_openat2 = system_call("openat2", ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_OpenHow), ctypes.c_size_t)


def openat2(
    directory: int, path: str | bytes, flags: int, *, mode: int = 0, resolve: int = RESOLVE_IN_ROOT
) -> int:
    """openat2(2), Linux 5.6. RESOLVE_IN_ROOT treats `directory` as the root: "..", absolute links and all
    stay inside.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    return _openat2(directory, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
