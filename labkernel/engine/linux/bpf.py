"""BPF programs that decide which devices a cgroup v2 may use: bpf(2)."""

from __future__ import annotations

import ctypes
import os

from labkernel.engine.linux.libc import system_call

BPF_PROG_LOAD = 5
BPF_PROG_ATTACH = 8
BPF_PROG_TYPE_CGROUP_DEVICE = 15
BPF_CGROUP_DEVICE = 6
BPF_F_ALLOW_MULTI = 2
INSTRUCTION_BYTES = 8


class _Load(ctypes.Structure):
    """The part of union bpf_attr that BPF_PROG_LOAD reads."""

    _fields_ = (
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
    )


class _Attach(ctypes.Structure):
    """The part of union bpf_attr that BPF_PROG_ATTACH reads."""

    _fields_ = (
        ("target_fd", ctypes.c_uint32),
        ("attach_bpf_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("attach_flags", ctypes.c_uint32),
    )


_bpf = system_call("bpf", ctypes.c_int, ctypes.c_void_p, ctypes.c_uint)


def attach_device_program(cgroup: str, program: bytes) -> None:
    """Load a device program and attach it to a cgroup v2 directory; it goes when the cgroup is removed."""
    instructions = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(b"GPL")
    load = _Load(
        prog_type=BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt=len(program) // INSTRUCTION_BYTES,
        insns=ctypes.addressof(instructions),
        license=ctypes.addressof(licence),
    )
    loaded = _bpf(BPF_PROG_LOAD, ctypes.byref(load), ctypes.sizeof(load))
    try:
        directory = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            attach = _Attach(directory, loaded, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI)
            _bpf(BPF_PROG_ATTACH, ctypes.byref(attach), ctypes.sizeof(attach))
        finally:
            os.close(directory)
    finally:
        os.close(loaded)
