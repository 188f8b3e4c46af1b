"""The images of a build's steps: one for each step, each on its parent, so that an interrupted build goes on
from what was done.

Histories are those of dockerd's classic builder.
"""

from __future__ import annotations

import copy
import os
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from labkernel.engine.build.cache import BuildCache
from labkernel.engine.build.container_config import ConfigState
from labkernel.engine.errors import NotFound
from labkernel.engine.image import config as image_config
from labkernel.engine.image.images import Hold, Image, Images


class Steps:
    """`epoch` is SOURCE_DATE_EPOCH (Unix seconds): no time in what is made is later. What is made or found is
    held: nobody prunes it while the build goes on."""

    def __init__(
        self,
        images: Images,
        cache: BuildCache,
        epoch: int | None,
        hold: Hold,
        sources: frozenset[str] | None = None,
    ) -> None:
        self._images = images
        self._cache = cache
        self.epoch = epoch
        self._hold = hold
        self._sources = sources

    def cached(self, parent: Image | None, command: Sequence[str]) -> Image | None:
        image = self._cache.find(parent.id if parent else None, command)
        if image and self._sources is not None and image.id not in self._sources:
            return None
        try:
            return self._hold(image) if image else None
        except NotFound:  # removed this moment
            return None

    def is_held_back(self, parent: Image | None, command: Sequence[str]) -> bool:
        """Whether the cache has the image of a step, and --cache-from alone keeps it from being used."""
        return (
            self._sources is not None and self._cache.find(parent.id if parent else None, command) is not None
        )

    def commit(
        self, parent: Image | None, state: ConfigState, command: Sequence[str], upper: Path | None = None
    ) -> Image:
        """Make the image of a step. `command` is its key and its history entry; `upper` becomes its layer
        unless it is empty."""
        layer = None
        if upper is not None and _has_entries(upper):
            chain_id = parent.chain_id if parent else None
            layer = self._images.store.layers.adopt(upper, chain_id, newest=self.epoch)
        created = self.created()
        base = parent.config if parent else image_config.new_config(created=created)
        document = image_config.new_config(
            config=copy.deepcopy(state.config),
            diff_ids=[*image_config.diff_ids(base), *([layer.diff_id] if layer else [])],
            history=[
                *(base.get("history") or []),
                image_config.history_entry(
                    " ".join(command),
                    created=created,
                    author=state.maintainer,
                    empty_layer=layer is None,
                ),
            ],
            created=created,
            author=state.maintainer,
            os=base.get("os") or "linux",
            architecture_name=base.get("architecture"),
        )
        if base.get("variant"):
            document["variant"] = base["variant"]
        parent_id = parent.id if parent else None
        with self._images.store.database.transaction():
            image = self._hold(self._images.create(document, parent=parent_id))
            self._cache.remember(parent_id, command, image)
        return image

    def created(self) -> str:
        """The present time, or SOURCE_DATE_EPOCH if that is earlier."""
        now = time.time()
        moment = now if self.epoch is None else min(now, self.epoch)
        return image_config.timestamp(datetime.fromtimestamp(moment, UTC))


def comment_command(state: ConfigState, comment: str) -> list[str]:
    """The command that history keeps of an instruction that runs nothing."""
    return [*state.shell, "#(nop) ", comment]


def joined_comment_command(state: ConfigState, comment: str) -> list[str]:
    """The same for WORKDIR, COPY and ADD, which have one word less, and one space."""
    return [*state.shell, f"#(nop) {comment}"]


def new_container_id() -> str:
    return secrets.token_hex(32)


def short_id(identifier: str) -> str:
    return identifier.removeprefix("sha256:")[:12]


def _has_entries(directory: Path) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is not None
