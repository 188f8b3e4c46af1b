"""The C library, and how its functions are given to Python: the error check is stated once, here."""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False  # typing itself is not loaded: see runtime.launcher
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)

#: System calls that the C library has no function for. Numbers above 423 are the same on every architecture.
NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {"rt_sigaction": 13, "pivot_root": 155, "bpf": 321, "seccomp": 317},
    "aarch64": {"rt_sigaction": 134, "pivot_root": 41, "bpf": 280, "seccomp": 277},
}
COMMON_NUMBERS = {
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "mount_setattr": 442,
}


def checked(name: str) -> Callable[[int, Any, tuple[Any, ...]], int]:
    """An errcheck for ctypes: -1 becomes OSError naming the call."""

    def check(result: int, function: Any, arguments: tuple[Any, ...]) -> int:
        if result == -1:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), name)
        return result

    return check


def function(name: str, *argument_types: Any) -> Callable[..., int]:
    """A function of the C library that returns an int, -1 on error."""
    found: Any = _libc[name]
    found.argtypes = argument_types
    found.restype = ctypes.c_int
    found.errcheck = checked(name)
    call: Callable[..., int] = found
    return call


def system_call(name: str, *argument_types: Any) -> Callable[..., int]:
    """A system call by number, for those the C library does not wrap."""
    number = COMMON_NUMBERS.get(name)
    if number is None:
        number = NUMBERS[os.uname().machine][name]
    # A fresh function object: its argument types are this call's own.
    found: Any = _libc["syscall"]
    found.argtypes = (ctypes.c_long, *argument_types)
    found.restype = ctypes.c_long
    found.errcheck = checked(name)

    def call(*arguments: Any) -> int:
        return int(found(number, *arguments))

    call.__name__ = name
    return call
