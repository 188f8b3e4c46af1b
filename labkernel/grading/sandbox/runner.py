"""The process that runs the cells: IPython's shell, as a user of no rights, told cell by cell."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from labkernel.engine.linux import mounts as m
from labkernel.engine.linux.capabilities import capset
from labkernel.engine.linux.namespaces import CLONE_NEWNS, unshare
from labkernel.engine.linux.processes import die_with_parent, set_dumpable, set_no_new_privileges
from labkernel.grading.sandbox import rootfs
from labkernel.grading.sandbox.messages import receive, send

_OWN_MEMORY = 1 << 30
"""Bytes of address space that Python and its libraries take, most of it never touched."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def prepare_shell() -> Any:
    """The shell, made once in the zygote: a fork of it is ready at once."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    import labkernel.notebook.extension  # noqa: F401  what a lesson's first cell loads

    quiet = Config(
        {"HistoryManager": {"enabled": False}, "InteractiveShell": {"colors": "nocolor", "xmode": "Context"}}
    )
    shell: Any = InteractiveShell.instance(config=quiet)
    shell.displayhook.write_output_prompt = lambda: None  # outputs as a notebook has them
    shell._tee = lambda channel: contextlib.nullcontext()  # else it keeps all that is ever printed
    return shell


def environment(home: str) -> dict[str, str]:
    """The variables of a sandbox's processes: few, and none of the grader's."""
    return {
        "PATH": f"{os.path.dirname(sys.executable)}:{_PATH}",
        "HOME": home,
        "USER": "learner",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "PYTHONDONTWRITEBYTECODE": "1",
        "IPYTHONDIR": f"{home}/.ipython",
        "XDG_RUNTIME_DIR": f"/run/user/{rootfs.LEARNER}",
        **{name: value for name, value in os.environ.items() if name == "PYTHONPATH"},
    }


def has_learner(process: int | str = "self") -> bool:
    """Whether there is a second id for the learner, beside root's, in a process's user namespace."""
    with open(f"/proc/{process}/uid_map") as mapping:
        ranges = [[int(number) for number in line.split()] for line in mapping]
    return any(first <= rootfs.LEARNER < first + count for first, _, count in ranges)


def be(cells: socket.socket, output: int, directory: str, limits: Mapping[str, Any]) -> NoReturn:
    """Become the runner. It is process 1 of a namespace, where it sees nobody else: when it ends, all that it
    started does.
    """
    code = 1
    try:
        unshare(CLONE_NEWNS)
        m.mount("proc", "/proc", "proc", m.MS_NOSUID | m.MS_NODEV | m.MS_NOEXEC)
        _close_off()
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # rather this one than the engine
        _limit(limits)
        become_learner(exists=has_learner())
        set_dumpable(True)  # the warden looks at what it has open
        die_with_parent()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(environment(rootfs.HOME), DOCKER_HOST=f"unix://{rootfs.SOCKET}")
        os.chdir(directory)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        os.close(output)
        _serve(cells)
        code = 0
    finally:
        os._exit(code)


def _close_off() -> None:
    """Take away here what only root may touch. The learner is root in containers, and can hand descriptors of
    directories to them.
    """
    for place in (rootfs.ENGINE, rootfs.LOWER, rootfs.BASE):
        if os.path.isdir(place):
            m.mount("tmpfs", place, "tmpfs", m.MS_RDONLY, "size=4k")
    for place in (rootfs.LEARNERS[-1], "/var/tmp"):
        m.mount(place, place, flags=m.MS_BIND)  # stays as it is when what is around it changes
    for place in ("/", "/run"):
        m.mount_setattr(m.AT_FDCWD, place, 0, set=m.MOUNT_ATTR_RDONLY)


def become_learner(*, exists: bool) -> None:
    """Drop root's rights for good, where there is somebody else to be."""
    if exists:
        with contextlib.suppress(PermissionError):
            os.setgroups([])
        os.setresgid(rootfs.LEARNER, rootfs.LEARNER, rootfs.LEARNER)
        os.setresuid(rootfs.LEARNER, rootfs.LEARNER, rootfs.LEARNER)
    else:
        capset(0, 0, 0)
    set_no_new_privileges()


def _limit(limits: Mapping[str, Any]) -> None:
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_FSIZE, limits["disk"]),
        (resource.RLIMIT_AS, limits["memory"] + _OWN_MEMORY),
        (resource.RLIMIT_NOFILE, 4096),
    ):
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _serve(cells: socket.socket) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell: Any = InteractiveShell.instance()
    shell.user_ns["__name__"] = "__main__"
    sys.path.insert(0, "")
    sys.stdout = os.fdopen(1, "w", buffering=1, errors="replace", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="replace", closefd=False)
    itself = os.getpid()
    while (message := receive(cells)) is not None:
        result = shell.run_cell(message.get("cell", ""), store_history=False)
        if os.getpid() != itself:
            os._exit(0)  # a child that the cell forked comes out of it too
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # a cell may have closed or replaced it
                stream.flush()
        send(cells, {"failed": not result.success})
