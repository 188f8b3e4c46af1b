"""The engine's process: one directory, one socket, until it is told to end."""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from labkernel.engine import garbage
from labkernel.engine.directory_lock import lock_directory
from labkernel.engine.errors import EngineError, InvalidParameter, System
from labkernel.engine.listeners import Tls, listen_tcp, listen_unix
from labkernel.engine.log_lines import LEVELS, log_to_standard_error
from labkernel.engine.open_files import allow_open_files, most_for_streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from labkernel.engine.image.store import LowerStore

log = logging.getLogger(__name__)

_BAD_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EACCES)
REGISTRY_OPTIONS = {
    "registry-mirror": "LABKERNEL_REGISTRY_MIRRORS",
    "insecure-registry": "LABKERNEL_INSECURE_REGISTRIES",
}
"""Options that may be given several times, and the environment's variables for them, with commas."""
THREADS = 64
"""Threads at most for what blocks: files, archives. They are started as they are needed."""


def serve(
    root: Path,
    host: str,
    *,
    lower: Sequence[str] = (),
    confined_to: Sequence[str] = (),
    mirrors: Sequence[str] = (),
    insecure: Sequence[str] = (),
    tcp: Sequence[str] = (),
    tls: Tls | None = None,
) -> int:
    """Run an engine in this process until SIGTERM or SIGINT; the answer is the process's exit status.

    `host` is `unix://PATH`. As an ordinary user the process becomes root of a user namespace first. `lower`
    are the directories of other engines, whose images are seen here and never written: "DIR", or
    "DIR=NAME,NAME" for those with one of these names only. `confined_to` are, where clients are not trusted,
    the directories that containers may share with the machine: see `containers.confinement`. `mirrors` and
    `insecure` as RegistrySettings has them. `tcp` are further addresses, `tcp://ADDRESS:PORT`, in `tls`.

    Raises:
        InvalidParameter: not an address, or not a registry's; TCP without TLS, or a file for it is wrong.
        Conflict: another engine has the directory, the socket or the port.
        System: the machine refuses what an engine needs.
    """
    if not host.startswith("unix://"):
        raise InvalidParameter(f"{host} is not an address an engine can listen on", hint="unix://PATH")
    from labkernel.engine.distribution.settings import RegistrySettings

    settings = RegistrySettings.of(mirrors, insecure)
    contexts = [(tls or Tls()).context(address) for address in tcp]
    socket_path = Path(host.removeprefix("unix://")).absolute()
    root = root.absolute()
    try:
        root.mkdir(mode=0o711, parents=True, exist_ok=True)
        lock = lock_directory(
            root, "engine", hint="`labkernel engine status` shows it; --root DIR takes another place"
        )
        listener = listen_unix(socket_path)
    except PermissionError as error:
        raise System(
            f"{error.filename}: permission denied",
            hint="choose another place with --root DIR and --host unix://PATH",
        ) from None
    try:
        # In the network that the engine is started in: an ordinary user's engine soon has its own.
        tcp_listeners = [listen_tcp(address) for address in tcp]
    except EngineError:
        _remove_socket(socket_path, listener)
        raise
    # Before any thread and before the loop: namespaces are a thread's, and unshare(2) takes a
    # single-threaded process.
    mapping = None
    if os.geteuid() != 0:
        from labkernel.engine.runtime.rootless import enter_user_namespace

        mapping = enter_user_namespace()
    else:
        from labkernel.engine.rootfs import separate_mounts
        from labkernel.engine.runtime.rootless import current_mapping

        # Root of a user namespace that somebody else made (a sandbox, a rootless container) is no more than
        # the root that an ordinary user makes of itself.
        mapping = current_mapping(*(Path(f"/proc/self/{kind}_map").read_text() for kind in ("uid", "gid")))
        separate_mounts()
    from labkernel.engine.api.system import HEADERS

    async def run() -> int:
        # An upload that stalls keeps its thread; the default, six threads on two cores, would soon be taken.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "engine"))
        from labkernel.engine.api.router import Router
        from labkernel.engine.api.routes import ROUTES
        from labkernel.engine.containers.confinement import Confinement
        from labkernel.engine.engine import Engine
        from labkernel.engine.http.server import Server

        engine = await Engine.open(
            root,
            mapping=mapping,
            lower=[_lower_store(word) for word in lower],
            confinement=Confinement(confined_to) if confined_to else None,
            registry_settings=settings,
        )
        allow_open_files()
        server = Server(Router(engine, ROUTES), HEADERS, most_descriptors=most_for_streams())
        engine.listening = [host, *(f"{address} ({tls})" for address in tcp)]
        await server.listen(listener)
        for tcp_listener, context in zip(tcp_listeners, contexts, strict=True):
            await server.listen(tcp_listener, context)
        for limit in engine.limits():
            log.info("limit: %s", limit)
        for address in engine.listening:
            log.info("listening on %s", address)
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        collecting = loop.create_task(garbage.collect(lambda: len(server.connections)))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        engine.launcher.lost.add_done_callback(lambda _: ended.set())
        await ended.wait()
        collecting.cancel()
        lost = engine.launcher.lost.done()
        if lost:
            log.error("the launcher was killed, and its containers with it; this engine ends")
        await server.close()
        await engine.close()
        return 1 if lost else 0

    try:
        return asyncio.run(run())
    finally:
        _remove_socket(socket_path, listener)
        os.close(lock)


def _lower_store(word: str) -> LowerStore:
    """Raises InvalidParameter for a name that is none."""
    from labkernel.engine.engine import DATABASE
    from labkernel.engine.image.reference import parse_reference
    from labkernel.engine.image.store import LowerStore

    directory, limited, names = word.partition("=")
    known = [parse_reference(name).with_default_tag().canonical for name in names.split(",") if name]
    return LowerStore(Path(directory), Path(directory, DATABASE), frozenset(known) if limited else None)


def _remove_socket(path: Path, listener: socket.socket) -> None:
    listener.close()
    path.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m labkernel.engine.daemon ROOT HOST [LOWER...] [OPTIONS]`: what `labkernel.engine_process` and
    the grader's sandboxes start.
    """
    given = _parse(sys.argv[1:] if arguments is None else arguments)
    log_to_standard_error(given.log_level)
    try:
        return serve(
            Path(given.root),
            given.host,
            lower=given.lower,
            confined_to=given.confined_to,
            mirrors=given.registry_mirror,
            insecure=given.insecure_registry,
            tcp=given.tcp,
            tls=Tls(given.tlscert, given.tlskey, given.tlscacert, given.tlsverify),
        )
    except EngineError as error:
        print(f"labkernel: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in _BAD_PLACE:
            raise
        return _cannot_work_in(str(error.filename or given.root), error.strerror)
    except sqlite3.OperationalError as error:
        return _cannot_work_in(given.root, str(error))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What is in the environment, for who starts an engine without saying more, comes before the options."""
    parser = argparse.ArgumentParser(prog="labkernel.engine.daemon")
    parser.add_argument("root")
    parser.add_argument("host")
    parser.add_argument("lower", nargs="*")
    parser.add_argument("--confined-to", action="append", default=[])
    parser.add_argument("--tcp", action="append", default=[])
    for option in ("tlscert", "tlskey", "tlscacert"):
        parser.add_argument(f"--{option}", default="")
    parser.add_argument("--tlsverify", action="store_true")
    level = os.environ.get("LABKERNEL_LOG", "info").lower()
    parser.add_argument("--log-level", choices=LEVELS, default=level if level in LEVELS else "info")
    for option, variable in REGISTRY_OPTIONS.items():
        words = [word for word in os.environ.get(variable, "").split(",") if word]
        parser.add_argument(f"--{option}", action="append", default=words)
    return parser.parse_args(arguments)


def _cannot_work_in(place: str, why: str | None) -> int:
    print(f"labkernel: {place}: {why}", file=sys.stderr)
    print("hint: is there space, and may it be written? --root DIR takes another place", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
