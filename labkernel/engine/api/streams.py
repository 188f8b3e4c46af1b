"""Attach and logs: a container's streams, raw on a terminal, framed otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator
from urllib.parse import quote_plus

from labkernel.engine.api.websocket import WebSocket
from labkernel.engine.containers.container import Container
from labkernel.engine.containers.logs import Entry
from labkernel.engine.containers.stdio import Stdio, Tap
from labkernel.engine.engine import Engine
from labkernel.engine.errors import Conflict, InvalidParameter, NotOffered
from labkernel.engine.http.byte_queue import Disconnected
from labkernel.engine.http.hijacked import HijackedStream
from labkernel.engine.http.server import Answer, Request, StreamResponse
from labkernel.engine.timestamps import parse_time

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
_NUMBERS = {"stdin": 0, "stdout": 1, "stderr": 2}
DETACH_KEYS = b"\x10\x11"
"""ctrl-p ctrl-q."""


def frame(stream: str, data: bytes) -> bytes:
    """One frame of a multiplexed stream: stream number, three zero bytes, length in four bytes, the data."""
    return bytes((_NUMBERS[stream], 0, 0, 0)) + len(data).to_bytes(4, "big") + data


def content_type(request: Request, terminal: bool) -> str:
    """Since API 1.42 the type says whether the stream is framed."""
    return RAW if terminal or request.api_version < (1, 42) else MULTIPLEXED


def parse_detach_keys(text: str) -> bytes:
    """`ctrl-p,ctrl-q` -> b"\\x10\\x11"; empty means the default. Raises InvalidParameter."""
    if not text:
        return DETACH_KEYS
    keys = bytearray()
    for key in text.split(","):
        if len(key) == 1 and key.isascii():
            keys += key.encode()
        elif match := re.fullmatch(r"ctrl-([a-z@\[\\\]^_])", key):
            keys.append(ord(match[1].upper()) & 0x1F)
        else:
            raise InvalidParameter(f"Invalid detach keys ({text}) provided")
    return bytes(keys)


class DetachFilter:
    """Watches input for the detach keys, which the process does not get to see."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """(what the process gets, whether the keys were pressed)."""
        data = self._held + data
        position = data.find(self._keys)
        if position >= 0:
            return data[:position], True
        kept = next((n for n in range(len(self._keys) - 1, 0, -1) if data.endswith(self._keys[:n])), 0)
        self._held = data[len(data) - kept :]
        return data[: len(data) - kept], False


async def attach(engine: Engine, request: Request) -> Answer:
    container = _attachable(engine, request)
    terminal = container.config["Tty"]
    keys = parse_detach_keys(request.argument("detachKeys")) if terminal else b""
    connection = await request.hijack(content_type(request, terminal))
    with contextlib.closing(connection):
        await _attached(engine, request, container, connection, keys, raw=terminal)
    return None


async def attach_websocket(engine: Engine, request: Request) -> Answer:
    """As `attach`, without frames around the output: a websocket has its own."""
    container = _attachable(engine, request)
    keys = parse_detach_keys(request.argument("detachKeys")) if container.config["Tty"] else b""
    connection = await WebSocket.accept(request)
    with contextlib.closing(connection):
        await _attached(engine, request, container, connection, keys, raw=True)
        with contextlib.suppress(Disconnected):
            await connection.finish()
    return None


def _attachable(engine: Engine, request: Request) -> Container:
    container = engine.containers.get(request.parameters["name"])
    if container.state.status == "paused":
        raise Conflict(f"Container {container.id} is paused, unpause the container before attach.")
    return container


async def _attached(
    engine: Engine,
    request: Request,
    container: Container,
    connection: HijackedStream | WebSocket,
    keys: bytes,
    *,
    raw: bool,
) -> None:
    """What was written before, if it is asked for, and then what is said until one of the two ends."""
    wanted = {stream for stream in ("stdout", "stderr") if request.flag(stream)}
    tap = container.stdio.tap() if request.flag("stream") else None
    try:
        if request.flag("logs"):
            async for entry in container.log.read():
                if entry.stream in wanted:
                    await connection.write(entry.line if raw else frame(entry.stream, entry.line))
        if tap is not None:
            engine.containers.lifecycle.publish(container, "attach")
            detached = await converse(
                connection,
                container.stdio,
                tap,
                wanted,
                raw=raw,
                stdin=request.flag("stdin") and container.config["OpenStdin"],
                keys=keys,
                once=container.config["StdinOnce"],
            )
            if detached:
                engine.containers.lifecycle.publish(container, "detach")
    except Disconnected:
        pass
    finally:
        if tap is not None:
            container.stdio.untap(tap)


async def converse(
    connection: HijackedStream | WebSocket,
    stdio: Stdio,
    tap: Tap,
    wanted: set[str],
    *,
    raw: bool,
    stdin: bool,
    keys: bytes = b"",
    once: bool = True,
) -> bool:
    """Carry input and output between a client and a process until the process ends, or the client detaches
    or goes; whether it detached.
    """

    async def output() -> None:
        while piece := await tap.read():
            stream, data = piece
            if stream in wanted:
                await connection.write(data if raw else frame(stream, data))

    async def input_() -> None:
        """Ends only when the client detaches: without input left there may still be output."""
        detach = DetachFilter(keys)
        while data := await connection.read():
            if keys:
                data, pressed = detach.feed(data)
                if pressed:
                    await stdio.write_stdin(data)
                    return
            if stdin and not await stdio.write_stdin(data):
                break
        if stdin and once:
            await stdio.ready.wait()
            stdio.close_stdin()
        fed.set()
        await asyncio.Event().wait()

    async def gone() -> None:
        """The client went; what it sent before that is still input."""
        await connection.lost.wait()
        if stdin and stdio.ready.is_set():
            await fed.wait()

    fed = asyncio.Event()
    tasks = [asyncio.ensure_future(part) for part in (output(), input_(), gone())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        return tasks[1] in done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def logs(engine: Engine, request: Request) -> Answer:
    container = engine.containers.get(request.parameters["name"])
    wanted = {stream for stream in ("stdout", "stderr") if request.flag(stream)}
    if not wanted:
        raise InvalidParameter("Bad parameters: you must choose at least one stream")
    if not container.log.enabled:
        raise NotOffered("configured logging driver does not support reading")
    tail_text = request.argument("tail")
    tail = (
        int(tail_text) if re.fullmatch(r"[0-9]{1,9}", tail_text) else None
    )  # as for dockerd, anything but a number means all
    since, until = parse_time(request.argument("since")), parse_time(request.argument("until"))
    timestamps, details = request.flag("timestamps"), request.flag("details")
    terminal = container.config["Tty"]
    entries = container.log.read(tail=tail, since=since, until=until, follow=request.flag("follow"))

    async def body() -> AsyncGenerator[bytes, None]:
        async for entry in entries:
            if entry.stream in wanted:
                line = _details(entry) + entry.line if details else entry.line
                line = f"{entry.time} ".encode() + line if timestamps else line
                yield line if terminal else frame(entry.stream, line)

    # Before API 1.42 logs have no type.
    return StreamResponse(body(), content_type(request, terminal) if request.api_version >= (1, 42) else "")


def _details(entry: Entry) -> bytes:
    """What was noted with a line, as `docker logs --details` shows it before the line: `a=1,b=2 `."""
    pairs = (f"{quote_plus(name)}={quote_plus(value)}" for name, value in sorted(entry.attributes.items()))
    return f"{','.join(pairs)} ".encode()
