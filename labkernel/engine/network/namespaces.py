"""Network namespaces, and the one thread that goes into them.

A thread is in a network namespace, and every socket it makes stays in that one. So one thread makes
namespaces, and sockets in them, and hands both to the rest of the engine, which never leaves its own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from labkernel.engine.linux.namespaces import CLONE_NEWNET, setns, unshare
from labkernel.engine.linux.netlink import NetlinkSocket
from labkernel.engine.linux.rtnetlink import rtnetlink_socket, set_up

Result = TypeVar("Result")


class NetworkNamespace:
    """A network namespace, alive while it is open or a process is in it, and a netlink socket inside it.

    To be made by a thread that is in it.
    """

    def __init__(self) -> None:
        self.descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.netlink: NetlinkSocket = rtnetlink_socket()

    @property
    def path(self) -> str:
        """A path that other processes of this user can open and setns() into."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    def enter(self) -> None:
        """Take the calling thread (NamespaceThread's) there, with a netlink socket to work with."""
        setns(self.descriptor, CLONE_NEWNET)
        self.netlink.close()
        self.netlink = rtnetlink_socket()

    def leave_alone(self) -> None:
        """Nothing more is to be changed there, until somebody enters again."""
        self.netlink.close()

    def close(self) -> None:
        """Let it go. The kernel takes it apart in its own time, interfaces included.

        Deleting an interface before would wait until every processor has passed a quiet point: 30 ms,
        measured.
        """
        self.netlink.close()
        os.close(self.descriptor)


class NamespaceThread:
    """Runs functions one after the other in a thread whose network namespace they may change.

    Between two functions the thread is `outside`, where the gateways are: in the engine's own namespace, or,
    for an ordinary user, in one that the engine may change.
    """

    def __init__(self, *, rootless: bool) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="netns")
        self.home: NetworkNamespace = self._executor.submit(NetworkNamespace).result()
        """The namespace that the engine itself is in."""
        self.outside = self._executor.submit(new_namespace).result() if rootless else self.home

    async def run(self, function: Callable[..., Result], *arguments: object, **options: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, self._run, partial(function, *arguments, **options)
        )

    def _run(self, function: Callable[[], Result]) -> Result:
        try:
            return function()
        finally:
            # A thread keeps the namespace it is in alive.
            setns(self.outside.descriptor, CLONE_NEWNET)

    def close(self) -> None:
        self._executor.shutdown()
        self.home.close()
        if self.outside is not self.home:
            self.outside.close()


def new_namespace() -> NetworkNamespace:
    """Make a network namespace with its loopback up, and leave the calling thread (NamespaceThread's) in it.

    Its other interfaces get no IPv6 address until `enable_ipv6`, as Docker's. The loopback keeps ::1.
    """
    unshare(CLONE_NEWNET)
    set_sysctl("net/ipv6/conf/default/disable_ipv6", "1")
    namespace = NetworkNamespace()
    namespace.netlink.request(_LOOPBACK_UP, call="RTM_NEWLINK")
    return namespace


_LOOPBACK_UP = set_up("lo")


def has_ipv6() -> bool:
    """Whether the kernel has IPv6 at all."""
    return os.path.exists("/proc/sys/net/ipv6")


def enable_ipv6(interface: str) -> None:
    """Let an interface of the calling thread's namespace have IPv6 addresses."""
    set_sysctl(f"net/ipv6/conf/{interface}/disable_ipv6", "0")


def open_sysctl(name: str) -> int | None:
    """A descriptor that sets a parameter of the calling thread's namespace, from whichever namespace later.

    None where the kernel lacks the parameter (no IPv6), or where /proc/sys is read-only (in a container).
    """
    try:
        return os.open(f"/proc/sys/{name}", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return None


def set_sysctl(name: str, value: str) -> None:
    """Set a parameter of the calling thread's namespace, if that can be."""
    descriptor = open_sysctl(name)
    if descriptor is not None:
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)
