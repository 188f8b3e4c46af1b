"""What goes wrong in an instruction, with the Dockerfile's line."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from labkernel.engine.build.container_config import ConfigError
from labkernel.engine.build.errors import DockerfileError
from labkernel.engine.build.nodes import Dockerfile, Node
from labkernel.engine.errors import EngineError, System

_OS_ADVICE = {
    errno.ENOSPC: "the disk with the engine's store is full: remove images that are not needed",
    errno.EDQUOT: "the quota of the engine's store is used up: remove images that are not needed",
}


@contextmanager
def prefixed(words: str) -> Iterator[None]:
    """The message of what goes wrong inside begins with these words."""
    try:
        yield
    except EngineError as error:
        error.message = f"{words}: {error.message}"
        raise


@contextmanager
def located(source: Dockerfile, node: Node, mark: str | None = None) -> Iterator[None]:
    """Whatever goes wrong inside, it has its place in the Dockerfile."""
    try:
        yield
    except ConfigError as error:
        raise source.error(node, str(error), mark=mark) from None
    except DockerfileError:
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        failed = System(f"{node.name} failed: {reason}", hint=_OS_ADVICE.get(error.errno or 0))
        failed.details |= source.error(node, reason, mark=mark).details
        raise failed from error
    except EngineError as error:
        error.details |= source.error(node, error.message, mark=mark).details
        raise
