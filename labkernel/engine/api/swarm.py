"""`/swarm`, `/nodes`, `/services`, `/tasks`, `/secrets`, `/configs`, `/plugins`: what is beyond one
host.

As a dockerd that is in no swarm and has no plugins; clients that look for them go on without.
"""

from __future__ import annotations

from labkernel.engine.api.router import Route
from labkernel.engine.engine import Engine
from labkernel.engine.errors import NotFound, NotOffered, Unavailable
from labkernel.engine.http.server import Answer, Request, Response


async def no_manager(engine: Engine, request: Request) -> Answer:
    raise Unavailable(
        'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this '
        "node to swarm and try again.",
        hint="this engine is for one host: it joins no swarm",
    )


async def no_swarm(engine: Engine, request: Request) -> Answer:
    raise Unavailable("This node is not part of a swarm")


async def not_joined(engine: Engine, request: Request) -> Answer:
    raise NotOffered("swarm mode is not offered", hint="this engine is for one host")


async def plugins(engine: Engine, request: Request) -> Answer:
    request.filters()
    return Response.json([])


async def no_plugin(engine: Engine, request: Request) -> Answer:
    raise NotFound(f'plugin "{request.parameters["name"]}" not found', hint="plugins are not offered")


async def not_installed(engine: Engine, request: Request) -> Answer:
    raise NotOffered("plugins are not offered", hint="the drivers are built in: docker info lists them")


def _managed(kind: str) -> list[Route]:
    return [
        Route("GET", f"/{kind}", no_manager),
        Route("POST", f"/{kind}/create", no_manager),
        Route("GET", f"/{kind}/{{id}}", no_manager),
        Route("GET", f"/{kind}/{{id}}/logs", no_manager),
        Route("POST", f"/{kind}/{{id}}/update", no_manager),
        Route("DELETE", f"/{kind}/{{id}}", no_manager),
    ]


ROUTES = [
    Route("GET", "/swarm", no_manager),
    Route("GET", "/swarm/unlockkey", no_manager),
    Route("POST", "/swarm/unlock", no_manager),
    Route("POST", "/swarm/update", no_manager),
    Route("POST", "/swarm/leave", no_swarm),
    Route("POST", "/swarm/init", not_joined),
    Route("POST", "/swarm/join", not_joined),
    *(route for kind in ("nodes", "services", "tasks", "secrets", "configs") for route in _managed(kind)),
    Route("GET", "/plugins", plugins),
    Route("GET", "/plugins/privileges", plugins),
    Route("POST", "/plugins/pull", not_installed),
    Route("POST", "/plugins/create", not_installed),
    Route("GET", "/plugins/{name*}/json", no_plugin),
    Route("POST", "/plugins/{name*}/enable", no_plugin),
    Route("POST", "/plugins/{name*}/disable", no_plugin),
    Route("POST", "/plugins/{name*}/push", no_plugin),
    Route("POST", "/plugins/{name*}/set", no_plugin),
    Route("POST", "/plugins/{name*}/upgrade", no_plugin),
    Route("DELETE", "/plugins/{name*}", no_plugin),
]
