"""Putting a seccomp filter on the calling process: seccomp(2)."""

from __future__ import annotations

import ctypes

from labkernel.engine.linux.libc import system_call

SECCOMP_SET_MODE_FILTER = 1
INSTRUCTION_BYTES = 8


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


_seccomp = system_call("seccomp", ctypes.c_uint, ctypes.c_uint, ctypes.POINTER(_Program))


def set_filter(program: bytes) -> None:
    """Every system call from here on, of this process and its children, passes this classic BPF program.

    Needs CAP_SYS_ADMIN or no_new_privs.
    """
    filter_program = _Program(len(program) // INSTRUCTION_BYTES, program)
    _seccomp(SECCOMP_SET_MODE_FILTER, 0, ctypes.byref(filter_program))
