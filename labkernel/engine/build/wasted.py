"""Wasted bytes: files that a layer carries and no container sees, and package lists that nobody needs.

A layer keeps what a later one deletes or overwrites. Only the build's own layers are looked at: whoever
writes the Dockerfile can do nothing about those of the base image.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkernel.engine.build.explanation import StepRecord
from labkernel.engine.image.images import Image, Images
from labkernel.engine.image.whiteouts import Overlay, is_whiteout

WASTE = "labkernel.waste"
"""The name below `aux` of what a build says of wasted bytes."""

SHOWN_PATHS = 3

#: What package managers leave behind, by directory.
LEFTOVERS = {
    "var/lib/apt/lists": "apt-lists",
    "var/cache/apt": "apt-cache",
    "root/.cache/pip": "pip-cache",
    "var/cache/apk": "apk-cache",
    "var/cache/dnf": "dnf-cache",
    "var/cache/yum": "dnf-cache",
    "root/.npm": "npm-cache",
    "root/.cache/go-build": "go-cache",
}


@dataclass(frozen=True)
class Listing:
    """What one layer holds. `files` are bytes by path (no leading slash); a hard link's second name counts
    nothing. `whiteouts` are the paths it hides, `opaque` the directories whose earlier content it hides."""

    files: Mapping[str, int]
    whiteouts: frozenset[str] = frozenset()
    opaque: frozenset[str] = frozenset()


@dataclass
class Waste:
    """Bytes that the layer `layer` carries for nothing. `kind` is "deleted", "overwritten" or one of
    LEFTOVERS; `by` is the layer that hides them, None for leftovers. `paths` are the largest."""

    layer: int
    kind: str
    by: int | None
    size: int = 0
    count: int = 0
    paths: list[str] = field(default_factory=list)


def wasted(layers: Sequence[Listing]) -> list[Waste]:
    """All waste of some layers, the lowest first, ordered by size. Layers are numbered from 0."""
    visible: dict[str, int] = {}
    found: dict[tuple[int, str, int | None], list[tuple[int, str]]] = {}

    def note(path: str, kind: str, by: int | None) -> None:
        owner = visible[path]
        if size := layers[owner].files[path]:
            found.setdefault((owner, kind, by), []).append((size, path))

    for number, layer in enumerate(layers):
        hidden = [path for path in visible if _is_hidden(path, layer)]
        for path in hidden:
            note(path, "overwritten" if path in layer.files else "deleted", number)
            del visible[path]
        for path in layer.files:
            if path in visible:
                note(path, "overwritten", number)
            visible[path] = number
    for path in visible:
        if kind := _leftover(path):
            note(path, kind, None)
    return sorted(
        (_waste(key, files) for key, files in found.items()), key=lambda w: (-w.size, w.layer, w.kind)
    )


def _waste(key: tuple[int, str, int | None], files: list[tuple[int, str]]) -> Waste:
    files.sort(key=lambda file: (-file[0], file[1]))
    paths = ["/" + path for _, path in files[:SHOWN_PATHS]]
    return Waste(*key, sum(size for size, _ in files), len(files), paths)


def _is_hidden(path: str, layer: Listing) -> bool:
    """Whether a layer deletes a path, or a directory that it is in (also by a file in its place)."""
    if path in layer.whiteouts:
        return True
    above = posixpath.dirname(path)
    while True:
        if above in layer.opaque or (above and (above in layer.whiteouts or above in layer.files)):
            return True
        if not above:
            return False
        above = posixpath.dirname(above)


def _leftover(path: str) -> str | None:
    return next((kind for top, kind in LEFTOVERS.items() if path.startswith(top + "/")), None)


def listing(directory: Path, overlay: Overlay) -> Listing:
    """The listing of a layer's directory, as overlayfs keeps it."""
    files: dict[str, int] = {}
    whiteouts: set[str] = set()
    opaque: set[str] = set()
    linked: set[tuple[int, int]] = set()
    pending = [""]
    while pending:
        above = pending.pop()
        with os.scandir(directory / above) as entries:
            for entry in entries:
                path = f"{above}/{entry.name}" if above else entry.name
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    pending.append(path)
                    if _is_opaque(entry.path, overlay):
                        opaque.add(path)
                elif is_whiteout(status):
                    whiteouts.add(path)
                elif stat.S_ISREG(status.st_mode):
                    inode = (status.st_dev, status.st_ino)
                    files[path] = 0 if inode in linked else status.st_size
                    if status.st_nlink > 1:
                        linked.add(inode)
                else:
                    files[path] = 0
    return Listing(files, frozenset(whiteouts), frozenset(opaque))


def _is_opaque(path: str, overlay: Overlay) -> bool:
    try:
        return os.getxattr(path, overlay.prefix + "opaque", follow_symlinks=False) == b"y"
    except OSError:
        return False


def wasted_bytes(images: Images, image: Image, steps: Sequence[StepRecord]) -> dict[str, Any]:
    """The message that tells the waste in an image's own layers, each by the step that made it."""
    makers: dict[str, StepRecord] = {}
    for step in steps:
        if step.image and not step.is_from and images.has(step.image):
            chain_id = images.get(step.image).chain_id
            if chain_id is not None and (not step.parent or images.get(step.parent).chain_id != chain_id):
                makers.setdefault(chain_id, step)
    store = images.store
    own = [layer for layer in reversed(store.layers.chain(image.chain_id)) if layer.chain_id in makers]
    made_by = [makers[layer.chain_id] for layer in own]
    entries = [
        {
            "step": made_by[waste.layer].number,
            "instruction": made_by[waste.layer].code,
            "kind": waste.kind,
            "size": waste.size,
            "count": waste.count,
            "paths": waste.paths,
            **({"by": made_by[waste.by].number} if waste.by is not None else {}),
        }
        for waste in wasted([listing(layer.directory, store.overlay) for layer in own])
    ]
    return {"aux": {WASTE: entries}}
