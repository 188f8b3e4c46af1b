"""What a container changed: the lines of `docker diff`."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from labkernel.engine.image import whiteouts
from labkernel.engine.image.whiteouts import Overlay
from labkernel.engine.linux import trees
from labkernel.engine.linux.trees import Node


class Change(NamedTuple):
    """One changed path: kind 0 is modified, 1 added, 2 deleted."""

    path: str
    kind: int


def diff(upper: Path, lower: list[Path], overlay: Overlay) -> list[Change]:
    """The changes that an upper directory makes to the directories below it (top first), in the order of
    paths."""
    changes: dict[str, int] = {}
    root = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for node in trees.walk(root):
            path = "/" + os.fsdecode(node.path)
            kind = _kind(node, lower, overlay)
            if kind is None:
                continue
            changes[path] = kind
            # A directory with changes in it counts as changed, as in Docker.
            parent = path.rpartition("/")[0]
            while parent and parent not in changes:
                changes[parent] = 0
                parent = parent.rpartition("/")[0]
    finally:
        os.close(root)
    return [Change(path, kind) for path, kind in sorted(changes.items())]


def _kind(node: Node, lower: list[Path], overlay: Overlay) -> int | None:
    """The kind of change that a file in an upper directory is; None for a copy that overlayfs made for
    nothing."""
    if whiteouts.is_whiteout(node.status):
        return 2
    below = _find(lower, node.path, overlay)
    if below is None:
        return 1
    return None if _is_same(node.status, below) else 0


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether a copy made by overlayfs was not changed: as in Docker, by what stat(2) says. A directory's
    time and size tell only of what is in it."""
    owner_and_kind = ("st_mode", "st_uid", "st_gid", "st_rdev")
    if any(getattr(one, name) != getattr(other, name) for name in owner_and_kind):
        return False
    return stat.S_ISDIR(one.st_mode) or (one.st_mtime_ns, one.st_size) == (other.st_mtime_ns, other.st_size)


def _find(lower: list[Path], path: bytes, overlay: Overlay) -> os.stat_result | None:
    """What overlayfs would show of `path` in a stack of directories, top first. Never through a link: what a
    link in a layer leads to is none of this machine's business."""
    parts = path.split(b"/")
    for layer in lower:
        here = os.fsencode(layer)
        hidden = False
        for number, part in enumerate(parts, 1):
            here += b"/" + part
            try:
                status = os.lstat(here)
            except FileNotFoundError:
                break
            if whiteouts.is_whiteout(status):
                return None
            if number == len(parts):
                return status
            if not stat.S_ISDIR(status.st_mode):
                return None
            hidden = hidden or overlay.is_opaque(trees.attributes(here))
        if hidden:
            return None
    return None
