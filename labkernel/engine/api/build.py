"""`POST /build`: the classic builder's protocol."""

from __future__ import annotations

import json
from typing import Any, BinaryIO

from labkernel.engine.api.build_secrets import secrets, ssh
from labkernel.engine.api.images import publish
from labkernel.engine.api.json_stream import Messages, json_lines_once_begun
from labkernel.engine.api.registries import registry_config
from labkernel.engine.api.transfer import body_file, transferring
from labkernel.engine.build.context import BuildContext
from labkernel.engine.build.interface import BuildOptions, error_message
from labkernel.engine.build.remote import remote_context
from labkernel.engine.engine import Engine
from labkernel.engine.errors import InvalidParameter
from labkernel.engine.http.json_text import json_error
from labkernel.engine.http.server import Answer, Request, Response
from labkernel.engine.image.platforms import parse_platform
from labkernel.engine.image.reference import parse_reference
from labkernel.engine.image.store import Store

_HOST_CONFIG = {
    "memory": "Memory",
    "memswap": "MemorySwap",
    "cpushares": "CpuShares",
    "cpuquota": "CpuQuota",
    "cpuperiod": "CpuPeriod",
    "shmsize": "ShmSize",
}


_HOST_CONFIG_TEXTS = {
    "cpusetcpus": "CpusetCpus",
    "cpusetmems": "CpusetMems",
    "cgroupparent": "CgroupParent",
}

_KEEP_GIT = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"
"""The build argument with which a git context has its .git, as BuildKit has it."""

_SPOKEN = {"buildargs": "build args"}


def build_options(request: Request) -> BuildOptions:
    """The query of a build. Raises InvalidParameter."""
    parse_platform(request.argument("platform"))
    host_config: dict[str, Any] = {"NetworkMode": request.argument("networkmode") or "default"}
    for argument, key in _HOST_CONFIG.items():
        if value := request.integer(argument):
            host_config[key] = value
    for argument, key in _HOST_CONFIG_TEXTS.items():
        if text := request.argument(argument):
            host_config[key] = text
    if ulimits := _ulimits(request):
        host_config["Ulimits"] = ulimits
    if hosts := [host for host in request.query.get("extrahosts", []) if host]:
        host_config["ExtraHosts"] = hosts
    return BuildOptions(
        dockerfile=request.argument("dockerfile") or "Dockerfile",
        tags=[tag for tag in request.query.get("t", []) if tag],
        build_args=_object(request, "buildargs"),
        labels=_object(request, "labels"),
        target=request.argument("target"),
        platform=request.argument("platform"),
        no_cache=request.flag("nocache"),
        cache_from=_names(request, "cachefrom"),
        pull=request.flag("pull"),
        quiet=request.flag("q"),
        remove=request.flag("rm", True),
        force_remove=request.flag("forcerm"),
        host_config=host_config,
        auths=registry_config(request),
        squash=request.flag("squash"),
        explain=request.flag("explain"),
        secrets=secrets(request),
        ssh=ssh(request),
    )


def _ulimits(request: Request) -> list[dict[str, Any]]:
    value = _json(request, "ulimits", "ulimit settings")
    if not isinstance(value, list | None) or not all(isinstance(limit, dict) for limit in value or ()):
        text = request.argument("ulimits")
        raise InvalidParameter(f"error reading ulimit settings: {text} is not a JSON list of objects")
    return value or []


def _names(request: Request, name: str) -> list[str]:
    value = _json(request, name, name, cut_short="unexpected EOF")
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise InvalidParameter(f"invalid {name}: {request.argument(name)!r} is not a JSON list of strings")
    return value


def _object(request: Request, name: str) -> dict[str, Any]:
    if not request.argument(name):
        return {}
    value = _json(request, name, _SPOKEN.get(name, name))
    if not isinstance(value, dict):
        raise InvalidParameter(f"invalid {name}: {request.argument(name)!r} is not a JSON object")
    return value


def _json(
    request: Request, name: str, spoken: str, *, cut_short: str = "unexpected end of JSON input"
) -> Any:
    """An argument's value, None without one. `cut_short` is what Docker says of one that ends too early."""
    text = request.argument(name)
    try:
        return json.loads(text) if text else None
    except json.JSONDecodeError as error:
        raise InvalidParameter(f"error reading {spoken}: {json_error(error, cut_short)}") from None


async def build(engine: Engine, request: Request) -> Answer:
    if request.argument("version") == "2":
        raise InvalidParameter(
            "BuildKit is not offered", hint="DOCKER_BUILDKIT=0 docker build uses the builder that is"
        )
    if request.argument("securityopt"):
        raise InvalidParameter(
            "The daemon on this platform does not support setting security options on build"
        )
    options = build_options(request)
    remote = request.argument("remote")
    received = None
    if not remote:
        async with body_file(request) as tar:
            received = await transferring(_receive, engine.store, tar)

    async def work(messages: Messages) -> None:
        context = received or await remote_context(
            remote, engine.store, messages.put, keep_git=options.build_args.get(_KEEP_GIT) == "1"
        )
        with context:
            image = await engine.builder.build(context, options, messages.put, messages.room)
        for tag in options.tags:
            publish(engine, "tag", engine.images.get(image), parse_reference(tag).with_default_tag().familiar)

    return await json_lines_once_begun(request, work, error_message)


def _receive(store: Store, tar: BinaryIO) -> BuildContext:
    with store.temporary() as place:
        return BuildContext.receive(tar, place)


async def prune(engine: Engine, request: Request) -> Answer:
    """Steps are images here, as in dockerd's classic builder; what a cache mount kept is none."""
    engine.builder.records.prune(engine.images.has)
    names, freed = await engine.builder.caches.prune()
    return Response.json({"CachesDeleted": names or None, "SpaceReclaimed": freed})
