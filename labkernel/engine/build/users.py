"""`--chown`: names and numbers to owner and group."""

from __future__ import annotations

import re
from difflib import get_close_matches

from labkernel.engine.build.copying import Ownership
from labkernel.engine.build.instructions import Copy
from labkernel.engine.build.modes import mode_change
from labkernel.engine.build.rootfs import Owner, Rootfs
from labkernel.engine.errors import InvalidParameter

_NUMBER = re.compile(r"[+-]?[0-9]{1,10}")


def owner(text: str, rootfs: Rootfs) -> Owner:
    """`user`, `user:group` by name or number; names are those of the image's /etc/passwd and /etc/group.

    Without a group the user's word is the group as well. Raises InvalidParameter in Docker's words.
    """
    parts = text.split(":")
    if len(parts) > 2:
        raise _failure(f"invalid chown string format: {text}", "write USER or USER:GROUP")
    user, group = parts[0], parts[-1]
    return _lookup("user", "uid", user, rootfs, "etc/passwd"), _lookup(
        "group", "gid", group, rootfs, "etc/group"
    )


def _lookup(kind: str, what: str, word: str, rootfs: Rootfs, path: str) -> int:
    if _NUMBER.fullmatch(word):
        return int(word)
    known: dict[str, int] = {}
    for line in (rootfs.read(path) or b"").decode("utf-8", "replace").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isascii() and fields[2].isdigit():
            known.setdefault(fields[0], int(fields[2]))
    if word in known:
        return known[word]
    near = get_close_matches(word, known, n=1)
    raise _failure(
        f"can't find {what} for {kind} {word}: no such {kind}: {word}",
        f"did you mean {near[0]}?"
        if near
        else f"/{path} of the image does not know {word}; a number works too",
    )


def _failure(reason: str, hint: str) -> InvalidParameter:
    return InvalidParameter(f"unable to convert uid/gid chown string to host mapping: {reason}", hint=hint)


def ownership(step: Copy, rootfs: Rootfs) -> Ownership:
    """What `--chown` and `--chmod` ask for. Raises InvalidParameter."""
    mode = mode_change(step.chmod) if step.chmod else None
    if step.chown:
        return Ownership(owner(step.chown, rootfs), mode)
    # What comes from an image keeps its owners; the context's belong to whoever sent them, so they become
    # root's.
    return Ownership(None, mode) if step.stage else Ownership(mode=mode)
