"""`RUN --mount=type=secret` and `type=ssh`: what a step may see and nothing keeps.

Values are in the engine's memory and in files in memory that the step's container shows; they are in no
layer, history, cache key or file on a disk. An SSH agent's socket is one of the engine's own, which hands on
to the agent whatever is said: so it can belong to the user that the step runs as.
Source: docs.docker.com/reference/dockerfile "RUN --mount=type=secret" and "type=ssh".
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from labkernel.engine.build.container_config import joined_path
from labkernel.engine.build.interface import BuildOptions, FileMount
from labkernel.engine.build.mounting import MountPoints
from labkernel.engine.build.run_options import PRIVATE, RunMount
from labkernel.engine.errors import InvalidParameter
from labkernel.engine.linux.memory import in_memory

_CHUNK = 1 << 16
_OPTIONS = ("ro", "nosuid", "nodev", "noexec")


@dataclass
class PrivateMounts:
    """`files` are those that the step sees, by their destinations; `environment` its further variables."""

    files: list[tuple[Path, str]] = field(default_factory=list)
    environment: list[str] = field(default_factory=list)

    def place(self, points: MountPoints, workdir: str) -> list[FileMount]:
        """The mounts as the runner wants them, their mount points made. Raises OSError."""
        found = []
        for path, destination in self.files:
            target = joined_path(workdir, destination)
            points.make(target, is_directory=False)
            found.append(FileMount(path, target, "bind", _OPTIONS))
        return found


@asynccontextmanager
async def private_mounts(
    mounts: Sequence[RunMount], options: BuildOptions, place: Path, *, keep_ownership: bool
) -> AsyncIterator[PrivateMounts]:
    """What these mounts show, until the end of the context; `place` is a directory that is not there yet.

    Raises InvalidParameter for what is required and was not given."""
    wanted = [mount for mount in mounts if mount.type in PRIVATE and _is_given(mount, options)]
    if not wanted:
        yield PrivateMounts()
        return
    with in_memory(place) as directory:
        made = PrivateMounts()
        servers: list[asyncio.Server] = []
        try:
            for number, mount in enumerate(wanted):
                path, target = directory / str(number), mount.target
                if mount.type == "ssh":
                    target = target or f"/run/buildkit/ssh_agent.{len(servers)}"
                    if not servers:
                        made.environment.append(f"SSH_AUTH_SOCK={target}")
                    servers.append(await _agent(path, options.ssh[mount.id]))
                else:
                    value = options.secrets[mount.id]
                    if mount.env:
                        made.environment.append(_variable(mount, value))
                    if not target:
                        continue
                    path.write_bytes(value)
                path.chmod(mount.mode)
                if keep_ownership:
                    os.chown(path, mount.uid, mount.gid)
                made.files.append((path, target))
            yield made
        finally:
            for server in servers:
                server.close()


def _is_given(mount: RunMount, options: BuildOptions) -> bool:
    if mount.type == "ssh":
        if mount.id not in options.ssh and mount.is_required:
            raise InvalidParameter(
                f'no SSH key "{mount.id}" forwarded from the client',
                hint=f"labkernel docker build --ssh {mount.id}: the stock client cannot send it",
            )
        return mount.id in options.ssh
    if mount.id not in options.secrets and mount.is_required:
        raise InvalidParameter(
            f"secret {mount.id}: not found",
            hint=f"labkernel docker build --secret id={mount.id},src=FILE: the stock client cannot send it. "
            "Do not put it into ARG or COPY instead: it would stay in the image",
        )
    return mount.id in options.secrets


def _variable(mount: RunMount, value: bytes) -> str:
    if b"\0" in value:
        raise InvalidParameter(
            f"secret {mount.id}: a variable cannot hold a zero byte", hint="show it as a file: target=/PATH"
        )
    return f"{mount.env}={value.decode('utf-8', 'surrogateescape')}"


async def _agent(path: Path, agent: str) -> asyncio.Server:
    """A socket at `path` behind which the agent at the path `agent` answers."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            to_agent = await asyncio.open_unix_connection(agent)
            try:
                await asyncio.gather(_copy(reader, to_agent[1]), _copy(to_agent[0], writer))
            finally:
                to_agent[1].close()
        writer.close()

    # A socket's path is short (unix(7)); that of its directory need not be.
    listening = socket.socket(socket.AF_UNIX)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listening.bind(f"/proc/self/fd/{directory}/{path.name}")
    except OSError:
        listening.close()
        raise
    finally:
        os.close(directory)
    return await asyncio.start_unix_server(serve, sock=listening)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(_CHUNK):
        target.write(data)
        await target.drain()
    target.write_eof()
