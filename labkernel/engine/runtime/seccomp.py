"""System call filters: Docker's default profile and those of one's own, compiled to BPF and kept on disk.

The profile is a list of what may be called; everything else fails with EPERM, or with ENOSYS where it is
newer than the list. Some calls are let through with a capability only. Source: the default profile of the
Moby project (profiles/seccomp) and "Seccomp security profiles for Docker" in its documentation. libseccomp
knows the numbers of the calls; what it does not know is left out.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from labkernel.engine.runtime import seccomp_profile
from labkernel.engine.runtime.seccomp_program import (
    ALLOW,
    Architecture,
    Condition,
    Rule,
    compile_program,
    errno_action,
)

#: What any container may call.
ALLOWED = """
_llseek _newselect accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown
chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3
epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old
eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate
fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr
flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate
ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat get_robust_list
get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32
getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid
getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday
getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel
io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set
ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link
linkat listen listmount listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lsm_get_self_attr
lsm_list_modules lsm_set_self_attr lstat lstat64 madvise map_shadow_stack membarrier memfd_create
memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr
mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap
mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat
open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll
ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv
process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2 read readahead readlink
readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat
rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask
rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop
semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area
set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer
setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32
setrlimit setsid setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown
sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs
statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create
timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64
ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice
wait4 waitid waitpid write writev
"""

#: Also allowed with a capability.
ALLOWED_WITH: dict[str, str] = {
    "CAP_BPF": "bpf",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYSLOG": "syslog",
    "CAP_SYS_ADMIN": "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount "
    "mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns "
    "syslog umount umount2 unshare",
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "CAP_SYS_TTY_CONFIG": "vhangup",
}
#: Allowed on one family of machines.
ALLOWED_ON = {
    "x86_64": "arch_prctl modify_ldt",
    "aarch64": "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
}
#: What personality(2) may set: Linux, with or without UNAME26 and 32 address bits; and asking.
PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
#: clone(2) without CAP_SYS_ADMIN: with none of the flags for new namespaces.
NAMESPACE_FLAGS = 0x7E020000
AF_VSOCK = 40

#: Answered with success and nothing done, where only one id exists: package managers insist on owners.
OWNERSHIP_CALLS = """
chown chown32 fchown fchown32 fchownat lchown lchown32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32
setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32
setuid setuid32
"""
#: And for device nodes: the calls that make them and which argument is the mode.
NODE_CALLS = {"mknod": 1, "mknodat": 2}
FILE_TYPE_BITS, CHARACTER_DEVICE, BLOCK_DEVICE = 0o170000, 0o020000, 0o060000

#: A call newer than this is unknown to the profile. Numbers from 424 on are the same on every machine.
NEWEST_CALL = 470
NEW_CALLS = {
    "cachestat": 451,
    "fchmodat2": 452,
    "map_shadow_stack": 453,
    "futex_wake": 454,
    "futex_wait": 455,
    "futex_requeue": 456,
    "statmount": 457,
    "listmount": 458,
    "lsm_get_self_attr": 459,
    "lsm_set_self_attr": 460,
    "lsm_list_modules": 461,
    "mseal": 462,
    "setxattrat": 463,
    "getxattrat": 464,
    "listxattrat": 465,
    "removexattrat": 466,
}

#: 32-bit x86 has these as calls of their own since Linux 4.3 and 5.1. libseccomp gives no number for them: to
#: it they are parts of socketcall(2) and ipc(2).
X86_DIRECT_CALLS = {
    "recvmmsg": 337,
    "sendmmsg": 345,
    "socket": 359,
    "socketpair": 360,
    "bind": 361,
    "connect": 362,
    "listen": 363,
    "accept4": 364,
    "getsockopt": 365,
    "setsockopt": 366,
    "getsockname": 367,
    "getpeername": 368,
    "sendto": 369,
    "sendmsg": 370,
    "recvfrom": 371,
    "recvmsg": 372,
    "shutdown": 373,
    "semget": 393,
    "semctl": 394,
    "shmget": 395,
    "shmctl": 396,
    "shmat": 397,
    "shmdt": 398,
    "msgget": 399,
    "msgsnd": 400,
    "msgrcv": 401,
    "msgctl": 402,
}

#: Part of each file's name: raise it with any change to what is compiled.
VERSION = 4

Rules = dict[str, list[Rule]]


def limits() -> list[str]:
    """What is missing for filtering, said for the user; nothing where all is there."""
    if _library() is None:
        return ["System calls are not filtered: the library libseccomp is not installed."]
    return []


def default_filter(directory: Path, capabilities: Iterable[str]) -> Path | None:
    """The file of Docker's default filter for a process with these capabilities, compiled on first use.

    None without libseccomp.
    """
    conditional = sorted(set(capabilities) & set(ALLOWED_WITH))
    return _cached(
        directory,
        "default " + " ".join(conditional),
        lambda library: compile_program(
            architectures(
                library, default_rules(conditional), errno_action(errno.EPERM), errno_action(errno.ENOSYS)
            )
        ),
    )


def ownership_filter(directory: Path) -> Path | None:
    """The file of the filter that lets changes of ownership seem to succeed; None without libseccomp."""
    return _cached(
        directory,
        "ownership",
        lambda library: compile_program(architectures(library, ownership_rules(), ALLOW, ALLOW)),
    )


def default_rules(capabilities: Sequence[str]) -> Rules:
    """Docker's default profile for a process with these capabilities, by name of the call."""
    names = ALLOWED.split() + ALLOWED_ON.get(os.uname().machine, "").split()
    for capability in capabilities:
        names += ALLOWED_WITH[capability].split()
    rules = {name: [Rule(ALLOW)] for name in names}
    rules["personality"] = [Rule(ALLOW, (Condition(0, value),)) for value in PERSONALITIES]
    rules["socket"] = [Rule(ALLOW, (Condition(0, AF_VSOCK, equal=False),))]
    if "CAP_SYS_ADMIN" not in capabilities:
        rules["clone"] = [Rule(ALLOW, (Condition(0, 0, NAMESPACE_FLAGS),))]
        # clone3's flags lie in memory, out of a filter's sight: told ENOSYS, the C library takes clone.
        rules["clone3"] = [Rule(errno_action(errno.ENOSYS))]
    return rules


def ownership_rules() -> Rules:
    """What is answered with success where there is one id only."""
    rules = {name: [Rule(errno_action(0))] for name in OWNERSHIP_CALLS.split()}
    for name, mode in NODE_CALLS.items():
        rules[name] = [
            Rule(errno_action(0), (Condition(mode, kind, FILE_TYPE_BITS),))
            for kind in (CHARACTER_DEVICE, BLOCK_DEVICE)
        ]
    return rules


def own_filter(directory: Path, text: str, capabilities: Iterable[str]) -> Path | None:
    """The file of the filter of a profile of one's own (`seccomp_profile`); None without libseccomp, or when
    it filters nothing. Raises InvalidParameter.
    """
    held, uname = sorted(capabilities), os.uname()
    meant = seccomp_profile.profile(seccomp_profile.parse(text), held, uname.machine, uname.release)
    if meant is None:
        return None

    def compile_it(library: Any) -> bytes:
        kinds = [arch for name, arch in _kinds(library) if name in meant.architectures]
        named = architectures(library, meant.rules, meant.otherwise, meant.unknown, kinds=kinds, newest=0)
        return compile_program(named)

    return _cached(directory, f"own {uname.release} {' '.join(held)} {text}", compile_it)


def _kinds(library: Any) -> list[tuple[str, int]]:
    """The kinds of programs that this machine runs, each with a profile's name for it."""
    # Not x32, which Docker lists too and hardly a kernel has: its numbers are beyond the newest.
    arch = library.Arch
    found = {
        "x86_64": [("SCMP_ARCH_X86_64", arch.X86_64), ("SCMP_ARCH_X86", arch.X86)],
        "aarch64": [("SCMP_ARCH_AARCH64", arch.AARCH64), ("SCMP_ARCH_ARM", arch.ARM)],
    }
    return found.get(os.uname().machine, [("", library.system_arch())])


def architectures(
    library: Any,
    rules: Rules,
    otherwise: int,
    unknown: int,
    *,
    kinds: Sequence[int] | None = None,
    newest: int = NEWEST_CALL,
) -> list[Architecture]:
    """The rules by number, for each kind of program that this machine runs; calls beyond `newest` and all
    that have rules are unknown.
    """
    found = []
    for arch in [arch for _, arch in _kinds(library)] if kinds is None else kinds:
        numbered = ((_number(library, arch, name), wanted) for name, wanted in rules.items())
        numbers = {number: wanted for number, wanted in numbered if number is not None}
        found.append(Architecture(arch, numbers, otherwise, max([newest, *numbers]), unknown))
    return found


def _number(library: Any, arch: int, name: str) -> int | None:
    """The number of a call, None where there is no such call."""
    try:
        number: int = library.resolve_syscall(arch, name)
    except (OSError, ValueError):
        number = -1
    if number >= 0:
        return number
    # Calls that a machine does not have get negative numbers.
    direct = X86_DIRECT_CALLS.get(name) if arch == library.Arch.X86 else None
    return direct or NEW_CALLS.get(name)


def _cached(directory: Path, profile: str, compile_it: Callable[[Any], bytes]) -> Path | None:
    library = _library()
    if library is None:
        return None
    key = hashlib.sha256(f"{VERSION} {os.uname().machine} {library.get_api()} {profile}".encode()).hexdigest()
    path = directory / f"{profile.split()[0]}-{key[:16]}.bpf"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        # The name appears when the program is whole.
        with tempfile.NamedTemporaryFile(dir=directory, delete=False) as file:
            file.write(compile_it(library))
        os.replace(file.name, path)
    return path


def _library() -> Any:
    """The module pyseccomp, which fails to import without the library."""
    try:
        import pyseccomp  # type: ignore[import-untyped]
    except (ImportError, RuntimeError, OSError):
        return None
    return pyseccomp
