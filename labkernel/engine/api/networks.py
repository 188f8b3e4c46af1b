"""`/networks`."""

from __future__ import annotations

from labkernel.engine.engine import Engine
from labkernel.engine.errors import Forbidden, InvalidParameter, NotOffered
from labkernel.engine.http.server import Answer, Request, Response

_FILTERS = frozenset(["dangling", "driver", "id", "label", "name", "scope", "type"])


async def list_(engine: Engine, request: Request) -> Answer:
    filters = request.filters()
    for key in filters:
        if key not in _FILTERS:
            raise InvalidParameter(f"Invalid filter '{key}'")
    shown = [
        network
        for network in engine.networks.list()
        if ("name" not in filters or any(name in network["Name"] for name in filters["name"]))
        and ("id" not in filters or any(network["Id"].startswith(text) for text in filters["id"]))
        and ("driver" not in filters or network["Driver"] in filters["driver"])
        and ("scope" not in filters or network["Scope"] in filters["scope"])
        and ("type" not in filters or "builtin" in filters["type"])
        and "label" not in filters
    ]
    return Response.json(shown)


async def inspect(engine: Engine, request: Request) -> Answer:
    return Response.json(engine.networks.inspect(request.parameters["name"]))


async def remove(engine: Engine, request: Request) -> Answer:
    network = engine.networks.inspect(request.parameters["name"])
    raise Forbidden(f"{network['Name']} is a pre-defined network and cannot be removed")


async def create(engine: Engine, request: Request) -> Answer:
    await request.json()
    raise NotOffered(
        "networks of one's own are not offered yet",
        hint="on the network bridge, where containers are by default, they reach each other by address",
    )


async def prune(engine: Engine, request: Request) -> Answer:
    """The three networks there are belong to the engine."""
    return Response.json({"NetworksDeleted": None})
