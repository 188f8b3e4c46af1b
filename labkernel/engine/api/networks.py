"""`/networks`."""

from __future__ import annotations

import contextlib
from typing import Any

from labkernel.engine.containers import field_types
from labkernel.engine.engine import Engine
from labkernel.engine.errors import Forbidden, NotFound
from labkernel.engine.filters import check_keys, labels_pass, moment, truth, until
from labkernel.engine.http.server import Answer, Request, Response

_FILTERS = frozenset(["dangling", "driver", "id", "label", "name", "scope", "type"])


async def list_(engine: Engine, request: Request) -> Answer:
    filters = request.filters()
    check_keys(filters, _FILTERS)
    dangling = truth(filters, "dangling")
    shown = [
        network
        for network in engine.networks.list()
        if ("name" not in filters or any(name in network["Name"] for name in filters["name"]))
        and ("id" not in filters or any(network["Id"].startswith(text) for text in filters["id"]))
        and ("driver" not in filters or network["Driver"] in filters["driver"])
        and ("scope" not in filters or network["Scope"] in filters["scope"])
        and ("type" not in filters or _type(network) in filters["type"])
        and labels_pass(filters, network["Labels"])
        # Dangling is a network of the user's that no container is on.
        and dangling in (None, _type(network) == "custom" and not network["Containers"])
    ]
    return Response.json([network | {"Containers": {}} for network in shown])


def _type(network: dict[str, Any]) -> str:
    return "builtin" if network["Name"] in ("bridge", "host", "none") else "custom"


async def inspect(engine: Engine, request: Request) -> Answer:
    return Response.json(engine.networks.inspect(request.parameters["name"]))


async def create(engine: Engine, request: Request) -> Answer:
    body = await request.json()
    field_types.check(body, field_types.NETWORK)
    network = await engine.networks.create(body)
    _publish(engine, "create", network)
    return Response.json({"Id": network["Id"], "Warning": ""}, 201)


async def remove(engine: Engine, request: Request) -> Answer:
    network = await engine.networks.remove(request.parameters["name"])
    _publish(engine, "destroy", network)
    return Response.empty()


async def connect(engine: Engine, request: Request) -> Answer:
    body = await request.json()
    field_types.check(body, field_types.NETWORK_CONNECT)
    network = engine.networks.find(request.parameters["name"])
    container = engine.containers.get(body.get("Container") or "")
    await engine.containers.lifecycle.connect(container, network, body.get("EndpointConfig"))
    return Response.empty(200)


async def disconnect(engine: Engine, request: Request) -> Answer:
    body = await request.json()
    field_types.check(body, field_types.NETWORK_DISCONNECT)
    network = engine.networks.find(request.parameters["name"])
    container = engine.containers.get(body.get("Container") or "")
    await engine.containers.lifecycle.disconnect(container, network)
    return Response.empty(200)


async def prune(engine: Engine, request: Request) -> Answer:
    """Remove the user's networks that no container is on."""
    filters = request.filters()
    check_keys(filters, ("label", "label!", "until"))
    latest = until(filters)
    used = {name for container in engine.containers.all() for name in container.networks}
    deleted = []
    for network in engine.networks.list():
        if (
            _type(network) == "custom"
            and network["Name"] not in used
            and labels_pass(filters, network["Labels"])
            and (latest is None or moment(network["Created"]) <= latest)
        ):
            with contextlib.suppress(Forbidden, NotFound):  # somebody was quicker
                _publish(engine, "destroy", await engine.networks.remove(network["Id"]))
                deleted.append(network["Name"])
    engine.events.pruned("network", 0)
    return Response.json({"NetworksDeleted": deleted or None})


def _publish(engine: Engine, action: str, network: dict[str, Any]) -> None:
    engine.events.publish("network", action, network["Id"], name=network["Name"], type=network["Driver"])
