"""`/containers`: what is asked of them, but for their streams."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from typing import Any

from labkernel.engine.api.transfer import body_file, transferring, written
from labkernel.engine.containers import archive, processes, updating, usage
from labkernel.engine.containers import config as container_config
from labkernel.engine.containers.container import Container
from labkernel.engine.engine import Engine
from labkernel.engine.errors import EngineError, InvalidParameter
from labkernel.engine.http.server import Answer, Request, Response, StreamResponse


def _named(engine: Engine, request: Request) -> Container:
    return engine.containers.get(request.parameters["name"])


async def list_(engine: Engine, request: Request) -> Answer:
    containers = engine.containers.select(
        all=request.flag("all"), limit=request.integer("limit", 0) or 0, filters=request.filters()
    )
    if request.flag("size"):
        return Response.json(await asyncio.to_thread(engine.containers.summaries, containers, size=True))
    return Response.json(engine.containers.summaries(containers))


async def create(engine: Engine, request: Request) -> Answer:
    body = await request.json()
    container, warnings = await engine.containers.create(
        body, request.argument("name"), platform=request.argument("platform")
    )
    warnings += engine.containers.lifecycle.unenforceable(container)
    warnings += engine.mapping.warnings(container.config["User"]) if engine.mapping else []
    warnings += await engine.networks.warnings(container.networks)
    return Response.json({"Id": container.id, "Warnings": warnings}, 201)


async def inspect(engine: Engine, request: Request) -> Answer:
    container = _named(engine, request)
    if request.flag("size"):
        return Response.json(await asyncio.to_thread(engine.containers.inspect, container, size=True))
    return Response.json(engine.containers.inspect(container))


async def start(engine: Engine, request: Request) -> Answer:
    await engine.containers.lifecycle.start(_named(engine, request))
    return Response.empty()


async def stop(engine: Engine, request: Request) -> Answer:
    container, signal_name = _named(engine, request), request.argument("signal") or None
    await engine.containers.lifecycle.stop(container, request.integer("t"), signal_name)
    return Response.empty()


async def restart(engine: Engine, request: Request) -> Answer:
    container, signal_name = _named(engine, request), request.argument("signal") or None
    await engine.containers.lifecycle.restart(container, request.integer("t"), signal_name)
    return Response.empty()


async def kill(engine: Engine, request: Request) -> Answer:
    name = request.parameters["name"]
    number = container_config.signal_number(request.argument("signal") or "SIGKILL")
    try:
        await engine.containers.lifecycle.kill(_named(engine, request), number)
    except EngineError as error:
        raise type(error)(f"Cannot kill container: {name}: {error.message}", hint=error.hint) from None
    return Response.empty()


async def pause(engine: Engine, request: Request) -> Answer:
    await engine.containers.lifecycle.pause(_named(engine, request))
    return Response.empty()


async def unpause(engine: Engine, request: Request) -> Answer:
    await engine.containers.lifecycle.unpause(_named(engine, request))
    return Response.empty()


async def wait(engine: Engine, request: Request) -> Answer:
    """The head is sent at once, so that the client knows that the wait has begun before it starts the
    container.
    """
    condition = request.argument("condition", "not-running")
    if condition not in ("", "not-running", "next-exit", "removed"):
        raise InvalidParameter(f'invalid condition: "{condition}"')
    ended = _named(engine, request).exit_of(condition)

    async def body() -> AsyncGenerator[bytes, None]:
        result: dict[str, Any] = {"StatusCode": await ended}
        if request.api_version < (1, 42):
            result = {"Error": None} | result
        yield json.dumps(result).encode() + b"\n"

    return StreamResponse(body())


async def remove(engine: Engine, request: Request) -> Answer:
    if request.flag("link"):
        engine.containers.unlink(request.parameters["name"])
        return Response.empty()
    await engine.containers.remove(
        _named(engine, request), force=request.flag("force"), volumes=request.flag("v")
    )
    return Response.empty()


async def prune(engine: Engine, request: Request) -> Answer:
    result = await engine.containers.prune(request.filters())
    engine.events.pruned("container", result["SpaceReclaimed"])
    return Response.json(result)


async def rename(engine: Engine, request: Request) -> Answer:
    engine.containers.rename(_named(engine, request), request.argument("name"))
    return Response.empty()


async def resize(engine: Engine, request: Request) -> Answer:
    container = _named(engine, request)
    engine.containers.lifecycle.resize(container, *terminal_size(request))
    return Response.empty(200)


def terminal_size(request: Request) -> tuple[int, int]:
    """(rows, columns) of the arguments h and w. Raises InvalidParameter."""
    sizes = []
    for name in ("h", "w"):
        text = request.argument(name)
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
            raise InvalidParameter(f'strconv.Atoi: parsing "{text}": invalid syntax')
        sizes.append(int(text) & 0xFFFF)  # as dockerd: what the kernel takes of it
    return sizes[0], sizes[1]


async def update(engine: Engine, request: Request) -> Answer:
    container, body = _named(engine, request), await request.json()
    changed = updating.changes(container.id, container.config, container.host_config, body)
    warnings = await engine.containers.lifecycle.update(container, changed)
    return Response.json({"Warnings": warnings or None})


async def top(engine: Engine, request: Request) -> Answer:
    container = engine.containers.running(request.parameters["name"])
    arguments = request.argument("ps_args") or "-ef"

    def top() -> dict[str, Any]:
        return processes.top(engine.launcher.processes(container.id), arguments)

    return Response.json(await asyncio.to_thread(top))


async def stats(engine: Engine, request: Request) -> Answer:
    container = _named(engine, request)
    stream, one_shot = request.flag("stream", True), request.flag("one-shot")
    if stream and one_shot:
        raise InvalidParameter("cannot have stream=true and one-shot=true")
    samples = usage.samples(engine, container, stream=stream, one_shot=one_shot)

    async def body() -> AsyncGenerator[bytes, None]:
        async for sample in samples:
            yield json.dumps(sample).encode() + b"\n"

    return StreamResponse(body())


async def changes(engine: Engine, request: Request) -> Answer:
    container = _named(engine, request)
    found: list[dict[str, Any]] = await asyncio.to_thread(archive.changes, container, engine.containers)
    return Response.json(found or None)


async def export(engine: Engine, request: Request) -> Answer:
    container = _named(engine, request)
    engine.containers.lifecycle.publish(container, "export")
    return StreamResponse(
        await written(lambda out: archive.export(container, engine.containers, out)),
        "application/octet-stream",
    )


def _path(request: Request) -> str:
    path = request.argument("path")
    if not path:
        raise InvalidParameter("bad parameter: 'path' cannot be empty")
    return path


async def archive_stat(engine: Engine, request: Request) -> Answer:
    container, path = _named(engine, request), _path(request)
    described = await asyncio.to_thread(archive.path_stat, container, engine.containers, path)
    return Response(200, headers={"X-Docker-Container-Path-Stat": described})


async def archive_get(engine: Engine, request: Request) -> Answer:
    container, path = _named(engine, request), _path(request)
    described = await asyncio.to_thread(archive.path_stat, container, engine.containers, path)
    engine.containers.lifecycle.publish(container, "archive-path")
    return StreamResponse(
        await written(lambda out: archive.write_archive(container, engine.containers, path, out)),
        "application/x-tar",
        headers={"X-Docker-Container-Path-Stat": described},
    )


async def archive_put(engine: Engine, request: Request) -> Answer:
    container, path = _named(engine, request), _path(request)
    keep_kinds = request.flag("noOverwriteDirNonDir")
    async with body_file(request) as tar:
        await transferring(
            archive.read_archive, container, engine.containers, path, tar, no_overwrite_dir_non_dir=keep_kinds
        )
    engine.containers.lifecycle.publish(container, "extract-to-dir")
    return Response.empty(200)
