"""Layers as one directory.

Overlays are mounted in the engine's own mount namespace, which ends with the engine: nobody else sees them
and none is left when it is killed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from labkernel.engine.image.store import Store
from labkernel.engine.linux import mounts


@contextmanager
def mounted(
    store: Store, lower: Sequence[Path], upper: Path | None = None, work: Path | None = None
) -> Iterator[Path]:
    """The layers `lower` (top first) and, where given, a writable `upper`, as one directory for the time
    being.
    """
    with store.temporary() as place:
        if upper is None and len(lower) == 1:
            yield lower[0]
            return
        if upper is None and not lower:
            yield place
            return
        merged = place / "merged"
        merged.mkdir()
        # mount(2) takes one page of options: by way of a descriptor every layer's name is short.
        layers = os.open(store.layers.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            short = f"/proc/self/fd/{layers}"
            names = [
                f"{short}/{path.name}" if path.parent == store.layers.directory else str(path)
                for path in lower
            ]
            options = "lowerdir=" + ":".join(names)
            if upper is not None:
                options += f",upperdir={upper},workdir={work}"
            if store.overlay.userxattr:
                options += ",userxattr"
            mounts.mount("overlay", str(merged), "overlay", data=options)
        finally:
            os.close(layers)
        try:
            yield merged
        finally:
            mounts.umount2(str(merged), mounts.MNT_DETACH)
