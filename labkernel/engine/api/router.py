"""From a request to its handler: one table of URLs, and what is the same for all of them."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from labkernel.engine.api.errors import error_response
from labkernel.engine.engine import Engine
from labkernel.engine.errors import EngineError
from labkernel.engine.http.byte_queue import Disconnected
from labkernel.engine.http.server import Answer, Request, Response

log = logging.getLogger(__name__)

API_VERSION = (1, 44)
MINIMUM_API_VERSION = (1, 22)
"""What skopeo and its kin say they speak (`docker-daemon:`), of which nothing is changed since."""

Handler = Callable[[Engine, Request], Awaitable[Answer]]


@dataclass(frozen=True)
class Route:
    """`path` has parameters in braces; `{name}` takes one segment, `{name*}` any number (image names have
    slashes).
    """

    method: str
    path: str
    handler: Handler

    def pattern(self) -> re.Pattern[str]:
        escaped = re.sub(r"\{(\w+)\*\}", r"(?P<\1>.+)", self.path)
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", escaped))


class Router:
    """Finds the handler, counts the version, turns errors into responses."""

    def __init__(self, engine: Engine, routes: list[Route]) -> None:
        self._engine = engine
        self._routes: dict[tuple[str, str], list[tuple[re.Pattern[str], Handler]]] = {}
        for route in routes:
            key = (route.method, _first_segment(route.path))
            self._routes.setdefault(key, []).append((route.pattern(), route.handler))

    async def __call__(self, request: Request) -> Answer:
        if refused := _check_version(request.api_version):
            return Response.json({"message": refused}, 400)
        for pattern, handler in self._routes.get((request.method, _first_segment(request.path)), ()):
            if match := pattern.fullmatch(request.path):
                request.parameters = match.groupdict()
                return await self._handle(handler, request)
        return Response.json({"message": "page not found"}, 404)

    async def _handle(self, handler: Handler, request: Request) -> Answer:
        try:
            return await handler(self._engine, request)
        except EngineError as error:
            return error_response(error)
        except Disconnected:
            raise
        except OSError as error:
            log.exception("%s %s", request.method, request.path)
            return Response.json(
                {"message": f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")}, 500
            )
        except Exception as error:
            log.exception("%s %s", request.method, request.path)
            return Response.json({"message": f"internal error: {type(error).__name__}: {error}"}, 500)


def _first_segment(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else ""


def _check_version(version: tuple[int, int]) -> str | None:
    """dockerd's words for a version it does not speak; (999, 0) stands for a path without one."""
    text, oldest, newest = ("{}.{}".format(*pair) for pair in (version, MINIMUM_API_VERSION, API_VERSION))
    if version < MINIMUM_API_VERSION:
        return (
            f"client version {text} is too old. Minimum supported API version is {oldest}, "
            "please upgrade your client to a newer version"
        )
    if API_VERSION < version != (999, 0):
        return f"client version {text} is too new. Maximum supported API version is {newest}"
    return None
