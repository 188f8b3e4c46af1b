"""`--squash`: the layers that a build put on its base image, joined to one.

What a later step took away is in no layer then. Source: docs.docker.com/reference/cli/docker/image/build
"Squash an image's layers".
"""

from __future__ import annotations

import copy
from pathlib import Path

from labkernel.engine.build.rootfs import Directory, rootfs_of
from labkernel.engine.build.sources import Found
from labkernel.engine.image import config as image_config
from labkernel.engine.image.images import Image, Images
from labkernel.engine.image.store import Store
from labkernel.engine.image.tarformat import DIRECTORY, REGULAR


def squash(images: Images, image: Image, base: Image | None, created: str, newest: int | None) -> Image:
    """An image with the files and the configuration of `image`, and one layer on those of `base` (None is
    scratch); `image` itself if it has no others.

    `created` is its time; no file is younger than `newest` (Unix seconds). Raises OSError."""
    if image.chain_id == (base.chain_id if base else None):
        return image
    store = images.store
    with store.temporary() as place:
        upper = place / "upper"
        upper.mkdir(mode=0o755)
        _Merge(store, image, base, upper).run()
        layer = store.layers.adopt(upper, base.chain_id if base else None, newest=newest)
    document = copy.deepcopy(image.config)
    before = base.config if base else image_config.new_config(created=created)
    kept = len(before.get("history") or [])
    for entry in (document.get("history") or [])[kept:]:
        entry["empty_layer"] = True
    comment = f"merge {image.id} to {base.id}" if base else f"create new from {image.id}"
    document["history"] = [
        *(document.get("history") or []),
        image_config.history_entry("", created=created, comment=comment),
    ]
    document["rootfs"]["diff_ids"] = [*image_config.diff_ids(before), layer.diff_id]
    document["created"] = created
    return images.create(document)


class _Merge:
    """Writes what differs between an image and its base into the upper directory of a layer."""

    def __init__(self, store: Store, image: Image, base: Image | None, upper: Path) -> None:
        self._image, self._base = rootfs_of(store, image), rootfs_of(store, base)
        self._target = rootfs_of(store, base, upper)
        self._links: dict[object, str] = {}

    def run(self) -> None:
        top = self._image.find("")
        assert top is not None, "a root directory"
        self._directory(top, self._base.top, self._target.top)
        self._target.finish()

    def _directory(self, here: Found, base: Directory | None, target: Directory) -> None:
        """`base` is the base image's directory at this place, None if it has none."""
        left = set(base.names()) if base is not None else set()
        for child in self._image.children(here):
            name = child.path.rpartition("/")[2]
            left.discard(name)
            if child.file.type == DIRECTORY:
                self._subdirectory(child, name, base, target)
            elif base is None or (below := base.lookup(name)) is None or below[0] != child.place:
                self._file(child, name, target)
        for name in left:
            self._target.hide(target, name)

    def _subdirectory(self, child: Found, name: str, base: Directory | None, target: Directory) -> None:
        here: Directory = child.place
        below = base.child(name) if base is not None else None
        if below is not None and here.lowers == below.lowers:
            return
        made = self._target.put_directory(target, name, child.file, (child.file.uid, child.file.gid))
        self._directory(child, below, made)

    def _file(self, child: Found, name: str, target: Directory) -> None:
        file = child.file
        known = self._links.get(file.identity) if file.identity is not None else None
        if known is not None:
            self._target.link(target, name, known)
            return
        real = self._target.put(
            target,
            name,
            file,
            (file.uid, file.gid),
            (lambda out: self._image.copy_content(child, out)) if file.type == REGULAR else None,
        )
        if file.identity is not None:
            self._links[file.identity] = real
