"""Who a user name means, by the container's own /etc/passwd and /etc/group: read by hand, because the C
library would load the host's name services from inside the container.

Both files are written by whoever made the image; lines that make no sense are skipped, as runc does.
"""

from __future__ import annotations

import os
import stat

from labkernel.engine.runtime.launcher.story import Refused

TYPE_CHECKING = False  # typing itself is not loaded: each page of memory costs every fork
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LARGEST_FILE = 16 * 1024 * 1024
LARGEST_ID = 2**31 - 1


class Identity:
    """The ids of a process and its home directory."""

    def __init__(self, uid: int, gid: int, groups: list[int], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home


def resolve(user: str, additional_groups: Sequence[str], passwd: str, group: str) -> Identity:
    """`user` is "", "name", "uid", "name:group", "uid:gid" ...; `passwd` and `group` are the files' contents.

    Raises Refused in runc's words. A number needs no entry; a name does.
    """
    name, _, group_name = user.partition(":")
    uid, gid, home, login = _find_user(name or "0", passwd)
    groups: list[int] = []
    entries = list(_entries(group, 4))
    if group_name:
        gid = _find_group(group_name, entries)
    elif login is not None:
        groups = [int(fields[2]) for fields in entries if login in fields[3].split(",")]
    groups += [_find_group(wanted, entries) for wanted in additional_groups]
    # The primary group is among the others too, or a file it owns could be read by giving it up
    # (CVE-2022-2995).
    return Identity(uid, gid, list(dict.fromkeys([gid, *groups])), home or "/")


def read_database(path: str) -> str:
    """A passwd or group file, "" where there is none; nothing but a regular file of sane size is read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return ""
        return os.read(fd, min(status.st_size, LARGEST_FILE)).decode("utf-8", "surrogateescape")
    finally:
        os.close(fd)


def _find_user(name: str, passwd: str) -> tuple[int, int, str, str | None]:
    """(uid, gid, home, login name): an entry whose name matches, or whose number does where `name` is one."""
    number = _number(name)
    for fields in _entries(passwd, 6):
        if fields[0] == name or (number is not None and int(fields[2]) == number):
            gid = _number(fields[3])
            return int(fields[2]), gid or 0, fields[5], fields[0]
    if number is None:
        if name.isdecimal():
            raise Refused("bad_user", "uids and gids must be in range 0-2147483647")
        raise Refused("bad_user", f"unable to find user {name}: no matching entries in passwd file")
    return number, 0, "/", None


def _find_group(name: str, entries: Sequence[Sequence[str]]) -> int:
    number = _number(name)
    for fields in entries:
        if fields[0] == name:
            return int(fields[2])
    if number is None:
        raise Refused("bad_user", f"unable to find group {name}: no matching entries in group file")
    return number


def _entries(text: str, least: int) -> Iterator[list[str]]:
    """The lines with at least so many fields and a number as the third."""
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= least and _number(fields[2]) is not None:
            yield fields


def _number(text: str) -> int | None:
    if text.isascii() and text.isdecimal() and len(text) < 11 and int(text) <= LARGEST_ID:
        return int(text)
    return None
