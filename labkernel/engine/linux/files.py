"""Opening files inside a directory that an untrusted party writes: openat2(2)."""

from __future__ import annotations

import ctypes
import os

# uapi/linux/openat2.h; these values are the same on every architecture.
_SYS_OPENAT2 = 437
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_EAGAIN_RETRIES = 128


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _check(result: int, function: object, arguments: object) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "openat2")
    return result


_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.errcheck = _check


def openat2(directory: int, path: bytes, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """Open `path` relative to `directory` under the rules of `resolve`; close-on-exec. Raises OSError.

    With RESOLVE_IN_ROOT every absolute symbolic link and every `..` stays inside `directory`, whatever is renamed
    meanwhile: the kernel answers EAGAIN when it can't be sure, and the call is made again (openat2(2)).
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    for attempt in range(_EAGAIN_RETRIES):
        try:
            descriptor: int = _syscall(
                ctypes.c_long(_SYS_OPENAT2),
                ctypes.c_int(directory),
                ctypes.c_char_p(path),
                ctypes.byref(how),
                ctypes.c_size_t(ctypes.sizeof(how)),
            )
            return descriptor
        except BlockingIOError:
            if attempt == _EAGAIN_RETRIES - 1:
                raise
    raise AssertionError("unreachable")
