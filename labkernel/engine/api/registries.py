"""What registries are asked besides images: whether a login is right, and what a name stands for."""

from __future__ import annotations

from labkernel.engine.api.http import Answer, Request, Response
from labkernel.engine.api.images import registry_auth
from labkernel.engine.engine import Engine
from labkernel.engine.image.reference import parse_reference

_HUB = ("index.docker.io", "registry-1.docker.io", "docker.io", "")


async def auth(engine: Engine, request: Request) -> Answer:
    """`docker login`: the registry is asked, nothing is kept here."""
    body = await request.json()
    address = str(body.get("serveraddress") or "")
    host = address.rpartition("://")[2].partition("/")[0]
    await engine.base_images.registries.log_in("docker.io" if host in _HUB else host, body)
    return Response.json({"IdentityToken": "", "Status": "Login Succeeded"})


async def distribution(engine: Engine, request: Request) -> Answer:
    reference = parse_reference(request.parameters["name"]).with_default_tag()
    return Response.json(await engine.base_images.registries.describe(reference, registry_auth(request)))
