"""Who the process is and what it may do: user and groups, capabilities, limits, system call filter."""

from __future__ import annotations

import os
import resource

from labkernel.engine.linux import capabilities, processes, seccomp
from labkernel.engine.runtime.launcher import users
from labkernel.engine.runtime.launcher.story import Story

TYPE_CHECKING = False  # typing itself is not loaded: each page of memory costs every fork
if TYPE_CHECKING:
    from typing import Any


def look_up(user: dict[str, Any]) -> users.Identity:
    """The ids behind `process.user`, by the container's own files; call it inside the container."""
    return users.resolve(
        user.get("username", "") or f"{user['uid']}:{user['gid']}",
        user.get("additionalGroups", ()),
        users.read_database("/etc/passwd"),
        users.read_database("/etc/group"),
    )


def set_limits(rlimits: list[dict[str, Any]], story: Story) -> None:
    """setrlimit(2). Raising a hard limit takes CAP_SYS_RESOURCE: without it the limit stays; a warning."""
    for limit in rlimits:
        name = limit["type"]
        number = getattr(resource, name, None)
        if number is None:
            story.warnings.append(f"this system has no limit called {name}")
            continue
        try:
            resource.setrlimit(number, (limit["soft"], limit["hard"]))
        except (PermissionError, ValueError):
            _, hard = resource.getrlimit(number)
            possible = hard if limit["soft"] == -1 or (0 <= hard < limit["soft"]) else limit["soft"]
            resource.setrlimit(number, (possible, hard))
            story.warnings.append(
                f"{name} can not be raised to {limit['soft']}:{limit['hard']} here; it is {possible}:{hard}"
            )


def own_streams(uid: int) -> None:
    """Give the standard streams to the user, or /dev/stdout could not be opened again by name."""
    null = os.makedev(1, 3)
    for fd in (0, 1, 2):
        status = os.fstat(fd)
        if status.st_uid == uid or status.st_rdev == null:
            continue
        try:
            os.fchown(fd, uid, -1)
        except OSError:  # read-only file systems, sockets and ids that are not mapped: as good as it was
            continue


def become(who: users.Identity, wanted: dict[str, list[str]], *, single_id: bool) -> None:
    """Change to the user, and keep exactly these capabilities; what the engine itself lacks cannot be given.

    The bounding set is what counts for root: executing a program gives root all of it. For another user the
    kernel clears everything then, but for what is ambient.
    """
    _, have, _ = capabilities.capget()
    bounding = capabilities.mask(wanted.get("bounding", ())) & have
    capabilities.drop_bounding(have & ~bounding)
    if not single_id:
        processes.set_keep_capabilities(True)
        os.setgroups(who.groups)
        os.setresgid(who.gid, who.gid, who.gid)
        os.setresuid(who.uid, who.uid, who.uid)
        processes.set_keep_capabilities(False)
    permitted = capabilities.mask(wanted.get("permitted", ())) & bounding
    effective = capabilities.mask(wanted.get("effective", ())) & permitted
    inheritable = capabilities.mask(wanted.get("inheritable", ())) & permitted
    capabilities.capset(effective, permitted, inheritable)
    capabilities.set_ambient(capabilities.mask(wanted.get("ambient", ())) & inheritable)


def filter_calls(filters: list[bytes]) -> None:
    """Put the system call filters on; of two that answer, the later one's answer is given."""
    for program in filters:
        seccomp.set_filter(program)
