"""`--change` of commit and import: Dockerfile instructions applied to a configuration, with no build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labkernel.engine.build.arguments import BuildArguments
from labkernel.engine.build.container_config import ConfigError, ConfigState, apply, complete, expanded
from labkernel.engine.build.instructions import instruction
from labkernel.engine.build.parser import parse

# Docker's list: what changes a configuration and nothing else.
_ALLOWED = (
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "USER",
    "VOLUME",
    "WORKDIR",
)


def apply_changes(config: Mapping[str, Any] | None, changes: Sequence[str]) -> dict[str, Any]:
    """A configuration (the API's ContainerConfig) with the changes made. Raises InvalidParameter."""
    state = ConfigState(complete(config), BuildArguments({}))
    if not changes:
        return state.config
    dockerfile = parse("\n".join(changes))
    for node in dockerfile.nodes:
        if node.name not in _ALLOWED:
            raise dockerfile.error(
                node,
                f"{node.keyword.lower()} is not a valid change command",
                advice=f"these are: {', '.join(_ALLOWED)}",
            )
    for node in dockerfile.nodes:
        try:
            apply(expanded(instruction(dockerfile, node), state), state)
        except ConfigError as error:
            raise dockerfile.error(node, str(error)) from None
    return state.config
