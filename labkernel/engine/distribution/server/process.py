"""The registry's process: one directory, one address, until it is told to end."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from labkernel.engine.database import Database
from labkernel.engine.directory_lock import lock_directory
from labkernel.engine.distribution.server.handlers import HEADERS, Registry
from labkernel.engine.distribution.server.store import Store
from labkernel.engine.distribution.server.uploads import Uploads
from labkernel.engine.errors import Conflict, InvalidParameter, System
from labkernel.engine.http.server import Server

log = logging.getLogger(__name__)

DEFAULT_HOST = "127.0.0.1:5000"


def serve(root: Path, host: str = DEFAULT_HOST, *, ready: Callable[[str], object] = lambda _: None) -> None:
    """Run a registry in this process until SIGTERM or SIGINT. `host` is ADDRESS:PORT, port 0 for any that is
    free; `ready` gets the address once it answers.

    Raises:
        InvalidParameter: not an address.
        Conflict: another registry has the directory or the address.
        System: the directory or the address cannot be used.
    """
    logging.basicConfig(
        level=os.environ.get("LABKERNEL_LOG", "INFO").upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    listener = _listen(host)
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = lock_directory(root, "registry", hint="--root DIR takes another place")
    except OSError as error:
        raise System(
            f"{error.filename}: {(error.strerror or str(error)).lower()}",
            hint="choose another place with --root DIR",
        ) from None
    try:
        asyncio.run(_run(root, listener, ready))
    finally:
        listener.close()
        os.close(lock)


async def _run(root: Path, listener: socket.socket, ready: Callable[[str], object]) -> None:
    database = Database(root / "registry.sqlite")
    store = Store(root, database)
    server = Server(Registry(store, Uploads(root, database, store)).handle, HEADERS)
    await server.listen(listener)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    address, port = listener.getsockname()[:2]
    ready(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
    await ended.wait()
    await server.close()
    database.close()


def _listen(host: str) -> socket.socket:
    address, separator, port = host.rpartition(":")
    address = address.removeprefix("[").removesuffix("]")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise InvalidParameter(f"{host} is not an address to listen on", hint=f"such as {DEFAULT_HOST}")
    try:
        family, _, _, _, target = socket.getaddrinfo(
            address or "0.0.0.0", int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(target[:2], family=family, backlog=1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Conflict(
                f"{host}: address already in use",
                hint="--host ADDR:PORT takes another; port 0, one that is free",
            ) from None
        # getaddrinfo's numbers are negative, and asyncio and socket add to the words of the others.
        words = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror)
        raise System(f"{host}: {words.lower()}") from None
    listener.setblocking(False)
    if not ipaddress.ip_address(target[0]).is_loopback:
        log.warning("%s is open to everybody who reaches it: to read, to push and to delete", host)
    return listener
