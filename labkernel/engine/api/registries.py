"""`/auth`, `/distribution`, and of `/images` what speaks to registries: pull, push and search."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from labkernel.engine.api.errors import stream_error
from labkernel.engine.api.json_stream import Messages, json_lines, json_lines_once_begun
from labkernel.engine.engine import Engine
from labkernel.engine.errors import InvalidParameter, System, Unauthorized
from labkernel.engine.filters import check_keys
from labkernel.engine.http.server import Answer, Request, Response
from labkernel.engine.image.platforms import parse_platform
from labkernel.engine.image.reference import is_digest, parse_reference

_SEARCH_LIMIT, _SEARCH_LIMITS = 25, range(1, 101)
_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}


def registry_auth(request: Request) -> dict[str, Any] | None:
    """The credentials of the header X-Registry-Auth."""
    return _decoded(request, "X-Registry-Auth") or None


def registry_config(request: Request) -> dict[str, Any]:
    """The credentials of the header X-Registry-Config, by the registries' addresses."""
    return _decoded(request, "X-Registry-Config")


def _decoded(request: Request, header: str) -> dict[str, Any]:
    """A header that is no base64 of JSON counts as none, as for dockerd: whom it matters to is refused by the
    registry."""
    text = request.headers.get(header.lower(), "")
    try:
        # Some clients use the one alphabet, some the other.
        text = text.replace("+", "-").replace("/", "_")
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


async def pull(engine: Engine, request: Request) -> Answer:
    """`POST /images/create?fromImage=`: with a tag or a digest one image, without all of the repository."""
    reference = parse_reference(request.argument("fromImage"))
    tag_or_digest = request.argument("tag")
    if is_digest(tag_or_digest):
        reference = reference.with_digest(tag_or_digest)
    elif tag_or_digest:
        reference = reference.with_tag(tag_or_digest)
    auth, platform = registry_auth(request), request.argument("platform")
    parse_platform(platform)

    async def work(messages: Messages) -> None:
        try:
            await engine.base_images.pull(reference, messages.put, auth, platform=platform)
        except Unauthorized as error:
            # As dockerd: a status 401 would make its client ask for a password on its standard input.
            raise System(error.message, hint=error.hint) from error

    return await json_lines_once_begun(request, work, stream_error)


async def push(engine: Engine, request: Request) -> Answer:
    """With a tag one image, without all that have the repository's name."""
    reference = parse_reference(request.parameters["name"])
    if tag := request.argument("tag"):
        reference = reference.with_tag(tag)
    auth = registry_auth(request)
    return json_lines(lambda messages: engine.base_images.push(reference, messages.put, auth))


async def describe(engine: Engine, request: Request) -> Answer:
    reference = parse_reference(request.parameters["name"])
    work = engine.registries.describe(reference, registry_auth(request))
    return Response.json(await request.unless_disconnected(work))


async def log_in(engine: Engine, request: Request) -> Answer:
    auth = await request.json(required=False)
    token = await engine.registries.log_in(str(auth.get("serveraddress") or ""), auth)
    return Response.json({"IdentityToken": token, "Status": "Login Succeeded"})


async def search(engine: Engine, request: Request) -> Answer:
    term, limit = request.argument("term"), request.integer("limit") or _SEARCH_LIMIT
    if "://" in term:
        raise InvalidParameter('Invalid repository name (ex: "registry.domain.tld/myrepos")')
    if not term:
        raise InvalidParameter("a search term is needed")
    if limit not in _SEARCH_LIMITS:
        raise InvalidParameter(f"Limit {limit} is outside the range of [1, 100]")
    filters = request.filters()
    _check_filters(filters)
    work = engine.base_images.search(term, limit, registry_auth(request))
    found = await request.unless_disconnected(work)
    return Response.json([entry for entry in found if _passes(entry, filters)][:limit])


def _check_filters(filters: dict[str, list[str]]) -> None:
    check_keys(filters, ("is-automated", "is-official", "stars"))
    for key, values in filters.items():
        if key == "stars":
            for value in values:
                if not value.isdigit():
                    raise InvalidParameter(f"Invalid filter 'stars={value}'")
        elif not set(values) <= set(_BOOLEANS):
            raise InvalidParameter(f"Invalid filter '{key}=[{' '.join(values)}]'")


def _passes(entry: dict[str, Any], filters: dict[str, list[str]]) -> bool:
    for key in ("is-automated", "is-official"):
        wanted = {_BOOLEANS[value] for value in filters.get(key, ())}
        if wanted and entry[key.replace("-", "_")] not in wanted:
            return False
    return all(entry["star_count"] >= int(value) for value in filters.get("stars", ()))
