"""System call filters: Docker's default profile, compiled to BPF by libseccomp and kept on disk.

The profile is a list of what may be called; everything else fails with EPERM. Some calls are let through with a
capability only. Source: the default profile of the Moby project (profiles/seccomp) and "Seccomp security profiles for
Docker" in Docker's documentation. libseccomp leaves out names that it or the machine does not know.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ALLOWED = """
_llseek _newselect accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown
chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3
epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark
fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock
fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex
futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu
getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer
getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32
getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat
inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents
io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc kill landlock_add_rule
landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount
listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lsm_get_self_attr lsm_list_modules
lsm_set_self_attr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir
mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open
mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget
msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat open openat openat2 pause
pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl
pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv process_vm_writev pselect6 pselect6_time64
ptrace pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg
recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall
rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield
seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg
sendto set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32
setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid
setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr setxattrat shmat shmctl
shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat
stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time
timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate
truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork
vmsplice wait4 waitid waitpid write writev
""".split()

#: Also allowed with a capability.
ALLOWED_WITH: dict[str, str] = {
    "CAP_BPF": "bpf",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYSLOG": "syslog",
    "CAP_SYS_ADMIN": "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr "
    "move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 "
    "unshare",
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
#: The execution domains that personality(2) may set: Linux, with or without UNAME26 and the 32-bit address space; and asking.
PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
#: clone(2) without CAP_SYS_ADMIN: not with any of the flags for new namespaces.
NAMESPACE_FLAGS = 0x7E020000
AF_VSOCK = 40

#: Answered with success and done nothing, where only one id exists: package managers insist on owners, users and nodes.
OWNERSHIP_CALLS = """
chown chown32 fchown fchown32 fchownat lchown lchown32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32
setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32
""".split()

#: Part of each file's name: raise it with any change to what is compiled.
VERSION = 1


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
    return _cached(directory, "default", conditional)


def ownership_filter(directory: Path) -> Path | None:
    """The file of the filter that lets changes of ownership seem to succeed; None without libseccomp."""
    return _cached(directory, "ownership", [])


def _cached(directory: Path, profile: str, capabilities: Sequence[str]) -> Path | None:
    library = _library()
    if library is None:
        return None
    machine = os.uname().machine
    key = hashlib.sha256(
        f"{VERSION} {machine} {library.get_api()} {' '.join(capabilities)}".encode()
    ).hexdigest()
    path = directory / f"{profile}-{key[:16]}.bpf"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        made = _default(library, capabilities) if profile == "default" else _ownership(library)
        # libseccomp writes to a file descriptor; the name appears when the program is whole.
        with tempfile.NamedTemporaryFile(dir=directory, delete=False) as file:
            made.export_bpf(file)
        os.replace(file.name, path)
    return path


def _library() -> Any:
    """The module pyseccomp, which fails to import without the library."""
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError):
        return None
    return pyseccomp


def _new_filter(library: Any, default_action: int) -> Any:
    made = library.SyscallFilter(default_action)
    # Without this the kernel would refuse set-user-id programs' privileges to everyone filtered.
    made.set_attr(library.Attr.CTL_NNP, 0)
    try:
        # A binary tree instead of a chain of comparisons: libseccomp 2.5.
        made.set_attr(library.Attr.CTL_OPTIMIZE, 2)
    except OSError:
        pass
    if os.uname().machine == "x86_64":
        made.add_arch(library.Arch.X86)
        made.add_arch(library.Arch.X32)
    elif os.uname().machine == "aarch64":
        made.add_arch(library.Arch.ARM)
    return made


def _default(library: Any, capabilities: Sequence[str]) -> Any:
    made = _new_filter(library, library.ERRNO(errno.EPERM))
    names = set(ALLOWED) | set(ALLOWED_ON.get(os.uname().machine, "").split())
    for capability in capabilities:
        names |= set(ALLOWED_WITH[capability].split())
    for name in sorted(names):
        _rule(made, library.ALLOW, name)
    for value in PERSONALITIES:
        _rule(made, library.ALLOW, "personality", library.Arg(0, library.EQ, value))
    _rule(made, library.ALLOW, "socket", library.Arg(0, library.NE, AF_VSOCK))
    if "CAP_SYS_ADMIN" not in capabilities:
        _rule(made, library.ALLOW, "clone", library.Arg(0, library.MASKED_EQ, NAMESPACE_FLAGS, 0))
        # clone3's flags lie in memory, out of a filter's sight: the C library falls back to clone when told ENOSYS.
        _rule(made, library.ERRNO(errno.ENOSYS), "clone3")
    return made


def _ownership(library: Any) -> Any:
    made = _new_filter(library, library.ALLOW)
    for name in OWNERSHIP_CALLS:
        _rule(made, library.ERRNO(0), name)
    for kind in (0o020000, 0o060000):  # character and block devices
        _rule(made, library.ERRNO(0), "mknod", library.Arg(1, library.MASKED_EQ, 0o170000, kind))
        _rule(made, library.ERRNO(0), "mknodat", library.Arg(2, library.MASKED_EQ, 0o170000, kind))
    return made


def _rule(made: Any, action: int, name: str, *arguments: Any) -> None:
    try:
        made.add_rule(action, name, *arguments)
    except OSError:  # a name that libseccomp does not know
        return
