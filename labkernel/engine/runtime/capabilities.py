"""Which capabilities a container gets: Docker's default set, changed by CapAdd and CapDrop. Pure."""

from __future__ import annotations

from collections.abc import Sequence

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
    """The set that HostConfig asks for ("ALL" included), in the kernel's order.

    Raises InvalidParameter for a name that no kernel has.
    """
    raise NotImplementedError
