"""A view: something of the engine's that an output shows for as long as it is looked at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docker import DockerClient

    from labkernel.notebook.views.picture import Picture


class View(ABC):
    """`line` is what was typed: the same line again takes the older view's place. `host` names the engine.

    `look` is called in one thread at a time: the cell's first, then the follower's.
    """

    moves = True
    """False for one that is to stay what it was at first."""
    pause: float | None = None
    """Seconds after which to look again although no event came; None: never. `look` may change it."""

    def __init__(self, line: str, host: str | None) -> None:
        self.line = line
        self.host = host

    @abstractmethod
    def look(self, client: DockerClient) -> Picture:
        """What there is now. Raises CommandError when it is not there any more, docker's and requests'
        errors when the engine is not.
        """

    @abstractmethod
    def concerns(self, event: Mapping[str, Any]) -> bool:
        """Whether an event (as GET /events sends it) may change the picture."""

    def missed(self) -> None:  # noqa: B027
        """Events may have been missed: know nothing any more."""

    def begin(self, changed: Callable[[], None]) -> None:  # noqa: B027
        """Start what works beside the events; it calls `changed`, from any thread, when there is news."""

    def settle(self, seconds: float) -> bool:
        """Wait until what takes a moment to find out is known, but no longer than `seconds`.

        Returns whether there was something to wait for and it is known now.
        """
        return False

    def end(self) -> None:  # noqa: B027
        """Stop what `begin` has started."""


def action(event: Mapping[str, Any]) -> str:
    """ "start" of a container's event, "exec_start" for "exec_start: sh -c ..."."""
    return str(event.get("Action", "")).partition(":")[0]


def is_about(event: Mapping[str, Any], names: set[str]) -> bool:
    """Whether a container's event is about one of `names`: names or ids."""
    actor = event.get("Actor") or {}
    return event.get("Type") == "container" and bool(
        {actor.get("ID"), (actor.get("Attributes") or {}).get("name")} & names
    )


PASSING = frozenset(
    ["exec_create", "exec_start", "exec_die", "exec_detach", "top", "attach", "detach", "resize", "export"]
)
"""What happens to a container and leaves it as it was."""
