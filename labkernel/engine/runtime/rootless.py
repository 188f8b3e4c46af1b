"""Being an engine without being root: a user namespace in which the engine, and only there, is root."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mapping:
    """How the ids of the namespace lie on those of the machine: `ranges` are (inside, outside, count)."""

    uids: tuple[tuple[int, int, int], ...]
    gids: tuple[tuple[int, int, int], ...]

    @property
    def single(self) -> bool:
        """Only the user's own id is there: files of others cannot exist, and ownership has to be emulated."""
        return sum(count for _, _, count in self.uids) == 1


def enter_user_namespace() -> Mapping:
    """Make this process root of a new user and mount namespace. Call it before any thread or loop exists.

    Takes the user's ranges of /etc/subuid and /etc/subgid through newuidmap and newgidmap, or else the one id. Raises
    errors.System, with a hint, where the kernel refuses user namespaces.
    """
    raise NotImplementedError
