"""Network namespaces for tests, and small servers and clients inside them."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from labkernel.engine.linux.namespaces import CLONE_NEWNET, setns, unshare
from labkernel.engine.network.networks import Networks

THREAD_NETNS = "/proc/thread-self/ns/net"
#: The host's address on the wire to the world, and the world's: from the blocks reserved for documentation.
HOST, WORLD = "198.51.100.1", "198.51.100.2"
#: An address that the world holds beyond the wire.
FAR_AWAY = "203.0.113.9"


Result = TypeVar("Result")


def within(netns: str | int, function: Callable[[], Result]) -> Result:
    """What a function returns when its thread is in another network namespace; sockets it makes stay there.

    The thread is one that ends with the function: an ordinary user could not bring it home.
    """
    descriptor = os.open(netns, os.O_RDONLY) if isinstance(netns, str) else netns

    def entered() -> Result:
        setns(descriptor, CLONE_NEWNET)
        return function()

    try:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(entered).result()
    finally:
        if isinstance(netns, str):
            os.close(descriptor)


class Machine:
    """The host, which the making thread is in until `close`, and the world at the other end of its wire."""

    def __init__(self) -> None:
        self._home = os.open(THREAD_NETNS, os.O_RDONLY)
        unshare(CLONE_NEWNET)
        self.world = os.open(THREAD_NETNS, os.O_RDONLY)
        unshare(CLONE_NEWNET)
        self.host = os.open(THREAD_NETNS, os.O_RDONLY)
        # A new namespace takes this over from the machine's own.
        Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
        ip("link set lo up")
        ip(f"link add wire mtu 1400 type veth peer name wire mtu 1400 netns {self.path(self.world)}")
        ip(f"address add {HOST}/24 dev wire")
        ip("link set wire up")
        within(self.world, self._make_world)
        ip(f"route add default via {WORLD}")

    @staticmethod
    def _make_world() -> None:
        ip("link set lo up")
        ip(f"address add {WORLD}/24 dev wire")
        ip(f"address add {FAR_AWAY}/32 dev lo")
        ip("link set wire up")

    @staticmethod
    def path(descriptor: int) -> str:
        return f"/proc/{os.getpid()}/fd/{descriptor}"

    def interfaces(self) -> list[str]:
        return sorted(name for _, name in socket.if_nameindex())

    def close(self) -> None:
        setns(self._home, CLONE_NEWNET)
        for descriptor in (self._home, self.world, self.host):
            os.close(descriptor)


def ip(line: str) -> None:
    subprocess.run(["ip", *line.split()], check=True)


def ruleset() -> str:
    return subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout


@contextmanager
def tcp_server(
    netns: str | int, port: int, answer: Callable[[socket.socket], None], address: str = ""
) -> Iterator[list[str]]:
    """Serves each connection in a thread until the block ends; yields the list of the clients' addresses."""
    clients: list[str] = []
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = within(netns, lambda: socket.create_server((address, port), family=family))

    def serve() -> None:
        while True:
            try:
                connection, client = listener.accept()
            except OSError:
                return
            clients.append(client[0])
            threading.Thread(target=_answer, args=(connection, answer), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield clients
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _answer(connection: socket.socket, answer: Callable[[socket.socket], None]) -> None:
    with closing(connection):
        answer(connection)


def says(text: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(text)


def fetch(address: str, port: int, *, netns: str | int | None = None, timeout: float = 5) -> bytes:
    """All that a server says when connected to. For use in a thread while an event loop runs."""

    def read() -> bytes:
        with socket.create_connection((address, port), timeout) as connection:
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
            return b"".join(parts)

    return read() if netns is None else within(netns, read)


def wait_for(condition: Callable[[], object], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@dataclass(frozen=True)
class Place:
    """What a container that is on one network finds."""

    netns_path: str | None
    resolv_conf: str
    ports: dict[str, list[dict[str, str]] | None]
    address: str = ""
    prefix_length: int = 0
    gateway: str = ""
    mac: str = ""
    network_id: str = ""
    network_name: str = ""
    endpoint_id: str = ""


async def connect(networks: Networks, container_id: str, mode: str, **wishes: Any) -> Place:
    """`Networks.connect`, and what came of it."""
    sandbox = await networks.connect(container_id, mode, **wishes)
    common = (sandbox.netns_path, sandbox.resolv_conf, sandbox.ports)
    if not sandbox.endpoints:
        return Place(*common)
    (endpoint,) = sandbox.endpoints.values()
    return Place(
        *common,
        address=endpoint.address,
        prefix_length=endpoint.prefix_length,
        gateway=endpoint.gateway,
        mac=endpoint.mac,
        network_id=endpoint.network_id,
        network_name=endpoint.network_name,
        endpoint_id=endpoint.endpoint_id,
    )
