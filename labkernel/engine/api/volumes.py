"""`/volumes`."""

from __future__ import annotations

import asyncio

from labkernel.engine.containers import field_types
from labkernel.engine.engine import Engine
from labkernel.engine.http.server import Answer, Request, Response


async def list_(engine: Engine, request: Request) -> Answer:
    return Response.json({"Volumes": engine.volumes.list(request.filters()), "Warnings": None})


async def create(engine: Engine, request: Request) -> Answer:
    body = await request.json()
    field_types.check(body, field_types.VOLUME)
    name = engine.volumes.create(
        body.get("Name") or "",
        driver=body.get("Driver") or "local",
        labels=body.get("Labels"),
        options=body.get("DriverOpts"),
        anonymous=not body.get("Name"),
    )
    return Response.json(engine.volumes.inspect(name), 201)


async def inspect(engine: Engine, request: Request) -> Answer:
    return Response.json(engine.volumes.inspect(request.parameters["name"]))


async def remove(engine: Engine, request: Request) -> Answer:
    await asyncio.to_thread(engine.volumes.remove, request.parameters["name"], force=request.flag("force"))
    return Response.empty()


async def prune(engine: Engine, request: Request) -> Answer:
    """Since API 1.42 only anonymous volumes are pruned, unless `all` is asked for."""
    anonymous_only = request.api_version >= (1, 42)
    result = await asyncio.to_thread(engine.volumes.prune, request.filters(), anonymous_only=anonymous_only)
    engine.events.pruned("volume", result["SpaceReclaimed"])
    return Response.json(result)
