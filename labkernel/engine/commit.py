"""`docker commit`: a container's changes become an image; and the `--change` lines of commit and import."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any

from labkernel.engine.build.arguments import BuildArguments
from labkernel.engine.build.container_config import ConfigError, ConfigState, apply, complete, expanded
from labkernel.engine.build.instructions import instruction
from labkernel.engine.build.parser import parse
from labkernel.engine.containers.config import merge_image
from labkernel.engine.containers.container import Container
from labkernel.engine.errors import InvalidParameter
from labkernel.engine.image import config as image_config
from labkernel.engine.image.images import Image, Images

_CHANGES = frozenset(
    "CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR".split()
)


def apply_changes(config: Mapping[str, Any] | None, changes: Sequence[str]) -> dict[str, Any]:
    """The configuration after the instructions; `changes` are lines of a Dockerfile.

    Raises:
        InvalidParameter: an instruction that is none, or that changes more than configuration.
    """
    changed = complete(config)
    lines = [line for change in changes for line in change.splitlines() if line.strip()]
    if not lines:
        return changed
    state = ConfigState(changed, BuildArguments({}))
    dockerfile = parse("\n".join(lines))
    for node in dockerfile.nodes:
        if node.name.upper() not in _CHANGES:
            raise InvalidParameter(
                f"{node.name.lower()} is not a valid change command",
                hint=f"one of {', '.join(sorted(_CHANGES))}",
            )
        step = instruction(dockerfile, node)
        try:
            apply(expanded(step, state), state)
        except ConfigError as error:
            raise InvalidParameter(str(error)) from error
    return state.config


async def commit(
    images: Images,
    container: Container,
    *,
    changes: Sequence[str],
    comment: str,
    author: str,
    config: Mapping[str, Any] | None = None,
) -> Image:
    """An image of the container's file system as it is now. `config` replaces fields of the container's
    own.
    """
    # As dockerd: the container's own, changed; or what the request brings, completed from it.
    settled = apply_changes(config or container.config, changes)
    if config:
        merge_image(settled, container.config)
    diff_ids = []
    if os.listdir(container.upper):  # as dockerd: what nothing was written to is no layer
        layer = await asyncio.to_thread(images.store.layers.capture, container.upper, container.chain_id)
        diff_ids.append(layer.diff_id)
    base = images.get(container.image).config
    created = image_config.timestamp()
    history = [
        *base.get("history", []),
        image_config.history_entry(
            " ".join(container.command),
            created=created,
            author=author,
            comment=comment,
            empty_layer=not diff_ids,
        ),
    ]
    document = image_config.new_config(
        config=settled,
        diff_ids=[*base["rootfs"]["diff_ids"], *diff_ids],
        history=history,
        created=created,
        author=author,
        os=base.get("os", "linux"),
        architecture_name=base.get("architecture"),
    )
    document["container"] = container.id
    document["container_config"] = container.config
    return images.create(document, parent=container.image)
