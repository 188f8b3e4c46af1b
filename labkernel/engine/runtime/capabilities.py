"""Which capabilities a container gets: Docker's default set, changed by CapAdd and CapDrop. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from labkernel.engine.errors import InvalidParameter
from labkernel.engine.linux import capabilities as linux_capabilities

ALL_CAPABILITIES: tuple[str, ...] = linux_capabilities.NAMES

#: What Docker gives a container that asks for nothing.
DEFAULT_CAPABILITIES: tuple[str, ...] = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)


def container_capabilities(
    cap_add: Sequence[str] = (), cap_drop: Sequence[str] = (), *, privileged: bool = False
) -> list[str]:
    """The set that HostConfig asks for, in the kernel's order; names with or without CAP_, in any case, or
    ALL.

    Raises InvalidParameter, in Docker's words, for a name that no kernel has. "All" is all there are: the
    launcher gives those of them that the engine itself has.
    """
    add, drop = _normalized(cap_add, "CapAdd"), _normalized(cap_drop, "CapDrop")
    if privileged:
        return list(ALL_CAPABILITIES)
    if "ALL" in add:
        wanted = set(ALL_CAPABILITIES) - drop
    elif "ALL" in drop:
        wanted = add
    else:
        wanted = (set(DEFAULT_CAPABILITIES) - drop) | add
    return [name for name in ALL_CAPABILITIES if name in wanted]


def _normalized(names: Sequence[str], where: str) -> set[str]:
    found = set()
    for name in names:
        upper = name.upper()
        if upper != "ALL" and not upper.startswith("CAP_"):
            upper = "CAP_" + upper
        if upper not in ("ALL", *ALL_CAPABILITIES):
            raise InvalidParameter(f'invalid {where}: unknown capability: "{upper}"')
        found.add(upper)
    return found
