"""What an engine can leave behind, seen from its room: compared before it starts and after it has stopped."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from labkernel.engine.runtime.cgroups import engine_name
from tests.support.room import Room, wait_until


@dataclass(frozen=True)
class Leftovers:
    """Each a set of names; equal before and after means that nothing was left."""

    processes: frozenset[str]
    mounts: frozenset[str]
    interfaces: frozenset[str]
    tables: frozenset[str]
    cgroups: frozenset[str]

    @classmethod
    def of(cls, room: Room, root: Path | None = None) -> Leftovers:
        """`root` is that of the engine whose control groups are meant; by default those of any engine are."""
        mounts = Path(f"/proc/{room.pid}/mountinfo").read_text().splitlines()
        links = json.loads(room.run(["ip", "-json", "link"]).stdout or "[]")
        return cls(
            processes=frozenset(f"{pid} {command}" for pid, command in room.left()),
            mounts=frozenset(line.split()[4] for line in mounts),
            interfaces=frozenset(link["ifname"] for link in links),
            tables=frozenset(room.run(["nft", "list", "tables"]).stdout.splitlines()),
            cgroups=frozenset(_container_cgroups() if root is None else _cgroups_of(root)),
        )

    def compare(self, after: Leftovers) -> None:
        """Raise AssertionError naming what is in `after` and not here."""
        names_before, names_after = asdict(self), asdict(after)
        left = {kind: sorted(names_after[kind] - names_before[kind]) for kind in names_before}
        assert not any(left.values()), (
            f"left behind: { {kind: names for kind, names in left.items() if names} }"
        )


def settled(room: Room, before: Leftovers, timeout: float = 5, root: Path | None = None) -> Leftovers:
    """What is left once the kernel has taken apart what it alone holds, `timeout` seconds later at most."""
    for _ in wait_until(timeout, 0.1):
        after = Leftovers.of(room, root)
        if after == before:
            break
    return after


# A container's cgroup is named after it, in every engine.
_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")


def _cgroups_of(root: Path) -> set[str]:
    """Whatever there is of the engine with that root, for its containers and in them."""
    own = f"/labkernel/{engine_name(root / 'runtime')}/"
    return {directory for directory, _, _ in os.walk("/sys/fs/cgroup") if own in directory}


def _container_cgroups() -> set[str]:
    """Containers' cgroups without a process: one that runs was not left, but is another engine's.

    A dockerd of these tests (`labkernel-test-...`) may just be making one, or removing it.
    """
    return {
        directory
        for directory, _, _ in os.walk("/sys/fs/cgroup")
        if _CONTAINER_ID.search(os.path.basename(directory))
        and "/labkernel-test-" not in directory
        and _is_empty(Path(directory))
    }


def _is_empty(cgroup: Path) -> bool:
    try:
        return not (cgroup / "cgroup.procs").read_text()
    except OSError:  # it has gone: ENOENT, or ENODEV when that happens while it is read
        return False
