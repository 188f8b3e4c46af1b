"""Making processes, and what a process says about its own life and death: clone3(2), prctl(2),
close_range(2).
"""

from __future__ import annotations

import ctypes
import signal

from labkernel.engine.linux.libc import COMMON_NUMBERS, function, system_call

CLONE_PARENT = 0x8000
CLONE_INTO_CGROUP = 0x200000000
CLOSE_RANGE_CLOEXEC = 4

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NO_NEW_PRIVS = 38
PR_SET_CHILD_SUBREAPER = 36


class _CloneArguments(ctypes.Structure):
    """struct clone_args."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "flags",
            "pidfd",
            "child_tid",
            "parent_tid",
            "exit_signal",
            "stack",
            "stack_size",
            "tls",
            "set_tid",
            "set_tid_size",
            "cgroup",
        )
    )


# PyDLL keeps the interpreter's lock through the call: parent and child each come back holding it, as from
# os.fork.
_syscall = ctypes.PyDLL(None, use_errno=True)["syscall"]
_syscall.argtypes = (ctypes.c_long, ctypes.POINTER(_CloneArguments), ctypes.c_size_t)
_syscall.restype = ctypes.c_long

_prctl = function("prctl", ctypes.c_int, *(ctypes.c_ulong,) * 4)
_rt_sigaction = system_call("rt_sigaction", ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
_close_range = system_call("close_range", ctypes.c_uint, ctypes.c_uint, ctypes.c_uint)


def fork_into(flags: int, cgroup: int | None = None) -> int:
    """Fork by clone3(2): the child is born in new namespaces (`flags`) and in the cgroup v2 that `cgroup` has
    open.

    Returns 0 in the child. For a process with one thread only; Python's own fork preparations are made, the C
    library's are not, which only matters to what runs threads.
    """
    # With CLONE_PARENT the child is a sibling, and what it signals at its end is what the caller does.
    arguments = _CloneArguments(flags=flags, exit_signal=0 if flags & CLONE_PARENT else signal.SIGCHLD)
    if cgroup is not None:
        arguments.flags |= CLONE_INTO_CGROUP
        arguments.cgroup = cgroup
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = _syscall(COMMON_NUMBERS["clone3"], ctypes.byref(arguments), ctypes.sizeof(arguments))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    number = ctypes.get_errno()
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid == -1:
        raise OSError(number, "cannot make the process", "clone3")
    return int(pid)


def stop_ignoring(number: int) -> None:
    """Give a signal its default action, also one that the C library keeps for itself.

    glibc's posix_spawn leaves those ignored in the programs it starts; make, for one, starts them so.
    """
    # struct kernel_sigaction: handler, flags, restorer, mask; all zero is SIG_DFL. A mask has eight bytes.
    _rt_sigaction(number, bytes(32), None, 8)


def close_range_on_exec(first: int) -> None:
    """close_range(2): every descriptor from `first` on is closed when the process executes a program."""
    _close_range(first, 0xFFFFFFFF, CLOSE_RANGE_CLOEXEC)


def die_with_parent(signal_number: int = signal.SIGKILL) -> None:
    """PR_SET_PDEATHSIG. A change of user id clears it, so set it after."""
    _prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


def set_dumpable(dumpable: bool) -> None:
    """PR_SET_DUMPABLE: whether others without privilege may look into this process. Executing a program
    resets it.
    """
    _prctl(PR_SET_DUMPABLE, int(dumpable), 0, 0, 0)


def set_keep_capabilities(keep: bool) -> None:
    """PR_SET_KEEPCAPS: permitted capabilities survive the change from root to another user."""
    _prctl(PR_SET_KEEPCAPS, int(keep), 0, 0, 0)


def set_no_new_privileges() -> None:
    """PR_SET_NO_NEW_PRIVS: set-user-id programs and file capabilities give nothing from here on."""
    _prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
