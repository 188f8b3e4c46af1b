"""Being an engine without being root: a user namespace in which the engine, and only there, is root.

Source: user_namespaces(7), subuid(5), newuidmap(1). With ranges of subordinate ids the engine has as many ids
as a container needs. With its own id alone, everything in a container belongs to the one user; the ownership
filter (see `seccomp`) then answers changes of owner, user and group with success, so that package managers
finish.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from labkernel.engine.errors import System
from labkernel.engine.linux import mounts, namespaces

_ALL_IDS = 2**32 - 1
SUBORDINATE_FILES = (Path("/etc/subuid"), Path("/etc/subgid"))


@dataclass(frozen=True)
class Mapping:
    """How the ids of the namespace lie on those of the machine: ranges of (inside, outside, count)."""

    uids: tuple[tuple[int, int, int], ...]
    gids: tuple[tuple[int, int, int], ...]

    @property
    def single(self) -> bool:
        """Only the user's own id is there: files of others cannot exist, and ownership has to be emulated."""
        return sum(count for _, _, count in self.uids) == 1

    def limits(self) -> list[str]:
        """What this means for containers, a plain sentence each."""
        if not self.single:
            return []
        why = (
            "no range of subordinate ids"
            if shutil.which("newuidmap")
            else "no program newuidmap (package uidmap)"
        )
        return [
            f"All files and processes of containers belong to one user, since there is {why}: a container's "
            "change of owner, user or group does nothing, though it is answered with success."
        ]

    def warnings(self, user: str) -> list[str]:
        """What a container misses that is to run as `user`, "NAME[:GROUP]" or empty for root."""
        if not self.single or user.partition(":")[0] in ("", "0", "root"):
            return []
        return [
            f"the container's processes do not become user {user}, there is one id only: "
            "`labkernel engine status` says why"
        ]


def plan(user: str, uid: int, gid: int, subuid: str, subgid: str) -> Mapping:
    """The mapping for a user, by the texts of /etc/subuid and /etc/subgid; pure.

    Root inside is the user outside; 1 and above are the ranges, one after the other. Both files have to have
    one.
    """
    uids, gids = _ranges(subuid, user, uid), _ranges(subgid, user, uid)
    if not (uids and gids):
        return Mapping(((0, uid, 1),), ((0, gid, 1),))
    return Mapping(((0, uid, 1), *_laid_out(uids)), ((0, gid, 1), *_laid_out(gids)))


def current_mapping(uid_map: str, gid_map: str) -> Mapping | None:
    """The mapping of the namespace this process is in, by the texts of /proc/self/{uid,gid}_map; pure.

    None on the machine itself, where every id is mapped to itself: root there is root.
    """
    uids, gids = _parts(uid_map), _parts(gid_map)
    return None if uids == ((0, 0, _ALL_IDS),) else Mapping(uids, gids)


def _parts(text: str) -> tuple[tuple[int, int, int], ...]:
    lines = (line.split() for line in text.splitlines())
    return tuple((int(inside), int(outside), int(count)) for inside, outside, count in lines)


def enter_user_namespace() -> Mapping:
    """Make this process root of a new user and mount namespace. Call it before any thread or loop exists.

    Takes the user's ranges of /etc/subuid and /etc/subgid through newuidmap and newgidmap, or else the one
    id. Raises System, with a hint, where the kernel refuses user namespaces.
    """
    uid, gid = os.getuid(), os.getgid()
    user = _name(uid)
    subuid, subgid = (path.read_text() if path.exists() else "" for path in SUBORDINATE_FILES)
    mapping = plan(user, uid, gid, subuid, subgid)
    if not mapping.single and not (shutil.which("newuidmap") and shutil.which("newgidmap")):
        mapping = plan(user, uid, gid, "", "")
    process = os.getpid()
    if mapping.single:
        _unshare()
        _write_single(mapping)
    else:
        # newuidmap has to run outside, as the user, once the namespace is there: a child waits for that.
        helper = _Helper(process, mapping)
        _unshare()
        helper.finish()
    # All ids of the namespace are there now; become its root in every respect.
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    if not mapping.single:
        os.setgroups([])
    mounts.mount("", "/", "", mounts.MS_REC | mounts.MS_SLAVE)
    return mapping


def _unshare() -> None:
    try:
        namespaces.unshare(namespaces.CLONE_NEWUSER | namespaces.CLONE_NEWNS)
    except OSError as error:
        raise System(
            f"this user may not make user namespaces: {error.strerror}",
            hint="the administrator allows them with the sysctls user.max_user_namespaces, "
            "kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns; "
            "or run the engine as root",
        ) from None


def _write_single(mapping: Mapping) -> None:
    """A process may map its own id itself, once it has given up setgroups (user_namespaces(7))."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(_line(mapping.uids[0]))
    Path("/proc/self/gid_map").write_text(_line(mapping.gids[0]))


class _Helper:
    """A child that stays in the outer namespace and maps the ids of `process` when it is told to."""

    def __init__(self, process: int, mapping: Mapping) -> None:
        reading, self._go = os.pipe()
        self._pid = os.fork()
        if self._pid:
            os.close(reading)
            return
        os.close(self._go)
        os.read(reading, 1)
        code = 1
        try:
            for program, ranges in (("newuidmap", mapping.uids), ("newgidmap", mapping.gids)):
                numbers = [str(number) for part in ranges for number in part]
                subprocess.run([program, str(process), *numbers], check=True)
            code = 0
        finally:
            os._exit(code)

    def finish(self) -> None:
        os.close(self._go)
        _, status = os.waitpid(self._pid, 0)
        if status:
            raise System(
                "newuidmap or newgidmap could not map the subordinate ids of this user",
                hint="see /etc/subuid and /etc/subgid; both programs have to be set-user-id root",
            )


def _ranges(text: str, user: str, uid: int) -> list[tuple[int, int]]:
    """(first, count) of the lines of a user, who is named or numbered there; nonsense is skipped."""
    found = []
    for line in text.splitlines():
        fields = line.split(":")
        if (
            len(fields) == 3
            and fields[0] in (user, str(uid))
            and fields[1].isdecimal()
            and fields[2].isdecimal()
        ):
            first, count = int(fields[1]), int(fields[2])
            if count > 0:
                found.append((first, count))
    return found


def _laid_out(ranges: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    found, inside = [], 1
    for first, count in ranges:
        found.append((inside, first, count))
        inside += count
    return found


def _line(part: tuple[int, int, int]) -> str:
    return " ".join(str(number) for number in part)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
