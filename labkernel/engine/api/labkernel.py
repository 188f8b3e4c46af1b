"""`/labkernel`: what Docker has no word for."""

from __future__ import annotations

from labkernel.engine.api.json_stream import json_lines
from labkernel.engine.engine import Engine
from labkernel.engine.errors import InvalidParameter
from labkernel.engine.http.server import Answer, Request, Response


async def make_image(engine: Engine, request: Request) -> Answer:
    """Make a base image with no registry; progress as a pull's."""
    name = request.argument("name")
    if not name:
        raise InvalidParameter(
            "which image? name is empty", hint=f"one of {', '.join(engine.base_images.known_names())}"
        )
    return json_lines(lambda messages: engine.base_images.make(name, messages.put))


async def status(engine: Engine, request: Request) -> Answer:
    """Where the engine's things are, and what does not work on this machine."""
    return Response.json(
        {
            "Root": str(engine.root),
            "Rootless": engine.mapping is not None,
            "ReachesWorld": await engine.networks.reaches_world(),
            "Listening": engine.listening,
            "Limits": engine.limits(),
        }
    )


async def birth(engine: Engine, request: Request) -> Answer:
    """The steps in which the launcher made a running container: name, detail, microseconds."""
    container = engine.containers.running(request.parameters["name"])
    steps = container.process.steps if container.process is not None else []
    return Response.json(
        [{"Name": step.name, "Detail": step.detail, "Microseconds": step.microseconds} for step in steps]
    )
