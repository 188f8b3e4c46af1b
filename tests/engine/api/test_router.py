from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from labkernel.engine.api.errors import STATUS, error_response, stream_error
from labkernel.engine.api.router import API_VERSION, MINIMUM_API_VERSION, Route, Router
from labkernel.engine.api.routes import ROUTES
from labkernel.engine.engine import Engine
from labkernel.engine.errors import Conflict, EngineError, NotFound, NotModified
from labkernel.engine.http.server import Answer, Request, Response, split_version


async def named(engine: Engine, request: Request) -> Answer:
    return Response.json(request.parameters)


async def failing(engine: Engine, request: Request) -> Answer:
    raise Conflict("taken", hint="choose another")


async def full(engine: Engine, request: Request) -> Answer:
    raise OSError(28, "No space left on device", "/place")


async def broken(engine: Engine, request: Request) -> Answer:
    raise ZeroDivisionError("oops")


TABLE = [
    Route("GET", "/things/{name}/json", named),
    Route("GET", "/things/{name*}/history", named),
    Route("DELETE", "/things/{name*}", named),
    Route("POST", "/fail", failing),
    Route("POST", "/full", full),
    Route("POST", "/broken", broken),
]


def answer(method: str, url: str, routes: list[Route] = TABLE) -> Response:
    path, version = split_version(url)
    nothing = cast(Any, None)
    request = Request(method, path, {}, {}, body=nothing, connection=nothing, api_version=version)
    found = asyncio.run(Router(nothing, routes)(request))
    assert isinstance(found, Response)
    return found


@pytest.mark.parametrize(
    ("method", "url", "status", "body"),
    [
        ("GET", "/things/a/json", 200, b'{"name":"a"}\n'),
        ("GET", "/v1.41/things/a/json", 200, b'{"name":"a"}\n'),
        ("GET", "/things/a/b/json", 404, b'{"message":"page not found"}\n'),
        ("GET", "/things/a/b/c:d/history", 200, b'{"name":"a/b/c:d"}\n'),
        ("DELETE", "/things/a/b", 200, b'{"name":"a/b"}\n'),
        ("PUT", "/things/a", 404, b'{"message":"page not found"}\n'),
        ("GET", "/things/", 404, b'{"message":"page not found"}\n'),
        ("GET", "/", 404, b'{"message":"page not found"}\n'),
        ("GET", "*", 404, b'{"message":"page not found"}\n'),
        ("GET", "", 404, b'{"message":"page not found"}\n'),
        ("POST", "/fail", 409, b'{"message":"taken","hint":"choose another"}\n'),
        ("POST", "/full", 500, b'{"message":"No space left on device: /place"}\n'),
        ("POST", "/broken", 500, b'{"message":"internal error: ZeroDivisionError: oops"}\n'),
    ],
)
def test_from_the_url_to_the_handler(method: str, url: str, status: int, body: bytes) -> None:
    found = answer(method, url)
    assert (found.status, found.body) == (status, body)


@pytest.mark.parametrize(
    ("url", "path", "version"),
    [
        ("/v1.41/info", "/info", (1, 41)),
        ("/info", "/info", (999, 0)),
        ("/version", "/version", (999, 0)),
        ("/v1.x/info", "/v1.x/info", (999, 0)),
        ("/v1/info", "/v1/info", (999, 0)),
        ("/volumes", "/volumes", (999, 0)),
        ("/v1.41", "", (1, 41)),
    ],
)
def test_the_version_in_the_url(url: str, path: str, version: tuple[int, int]) -> None:
    assert split_version(url) == (path, version)


def test_versions_that_are_not_spoken() -> None:
    old = (MINIMUM_API_VERSION[0], MINIMUM_API_VERSION[1] - 1)
    new = (API_VERSION[0], API_VERSION[1] + 1)
    for version, words in ((old, "too old. Minimum supported API version is"), (new, "too new. Maximum")):
        refused = answer("GET", "/v{}.{}/things/a/json".format(*version))
        assert refused.status == 400
        assert words in refused.body.decode()
    for version in (MINIMUM_API_VERSION, API_VERSION):
        assert answer("GET", "/v{}.{}/things/a/json".format(*version)).status == 200


def test_every_kind_of_error_has_a_status() -> None:
    kinds = {kind for kind in EngineError.__subclasses__() if kind.__module__ == EngineError.__module__}
    assert kinds == set(STATUS)
    assert error_response(EngineError("x")).status == 500
    assert error_response(NotModified("x")).body == b""


def test_an_error_in_a_stream() -> None:
    assert stream_error(NotFound("gone", hint="look"), code=1) == {
        "errorDetail": {"code": 1, "message": "gone", "hint": "look"},
        "error": "gone",
    }


def test_no_two_routes_take_the_same_request() -> None:
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
