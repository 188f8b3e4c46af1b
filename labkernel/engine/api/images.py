"""`/images` and `/commit`."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from labkernel.engine.api.errors import stream_error
from labkernel.engine.api.registries import pull
from labkernel.engine.api.transfer import body_file, transferring, written
from labkernel.engine.commit import apply_changes
from labkernel.engine.commit import commit as commit_container
from labkernel.engine.containers import field_types
from labkernel.engine.engine import Engine
from labkernel.engine.errors import EngineError, InvalidParameter, NotFound
from labkernel.engine.filters import Filters, check_keys, labels_pass, truth, until
from labkernel.engine.http.server import Answer, Request, Response, StreamResponse
from labkernel.engine.image.images import Image
from labkernel.engine.image.reference import Reference, parse_reference

_FILTERS = frozenset(["before", "dangling", "label", "label!", "reference", "since", "until"])


def _named(engine: Engine, request: Request) -> Image:
    return engine.images.resolve(request.parameters["name"])


async def list_(engine: Engine, request: Request) -> Answer:
    filters = request.filters()
    if name := request.argument("filter"):
        filters.setdefault("reference", []).append(name)
    check_keys(filters, _FILTERS)
    truth(filters, "dangling")
    every, shared = request.flag("all"), request.flag("shared-size")

    def summaries() -> list[dict[str, Any]]:
        return [
            engine.images.summary(image, shared_size=shared)
            for image in engine.images.list(all=every)
            if _passes(engine, image, filters)
        ]

    shown = await asyncio.to_thread(summaries)
    if request.api_version < (1, 44):
        shown = [summary | {"VirtualSize": summary["Size"]} for summary in shown]
    if names := filters.get("reference"):
        shown = [_only_tags(summary, names) for summary in shown]
    return Response.json(shown)


def _passes(engine: Engine, image: Image, filters: dict[str, list[str]]) -> bool:
    references = [ref for ref in engine.images.references(image.id) if ref.tag]
    dangling = truth(filters, "dangling")
    if dangling is not None and dangling != (not references):
        return False
    if not _old_enough_with_labels(image, filters):
        return False
    if (names := filters.get("reference")) and not any(
        _matches(ref, name) for ref in references for name in names
    ):
        return False
    if (names := filters.get("before")) and image.created >= engine.images.resolve(names[0]).created:
        return False
    return not ((names := filters.get("since")) and image.created <= engine.images.resolve(names[0]).created)


def _old_enough_with_labels(image: Image, filters: Filters) -> bool:
    """Whether it passes the filters until, label and label!."""
    latest = until(filters)
    in_time = latest is None or image.created * 1_000_000_000 <= latest
    return in_time and labels_pass(filters, _labels(image))


def _labels(image: Image) -> dict[str, str]:
    return (image.config.get("config") or {}).get("Labels") or {}


def _matches(reference: Reference, pattern: str) -> bool:
    from fnmatch import fnmatchcase

    return any(
        fnmatchcase(text, pattern)
        for text in (reference.familiar, reference.familiar_name, reference.canonical, reference.name)
    )


def _only_tags(summary: dict[str, Any], names: list[str]) -> dict[str, Any]:
    kept = [
        tag
        for tag in summary["RepoTags"] or []
        if any(_matches(parse_reference(tag), name) for name in names)
    ]
    return {**summary, "RepoTags": kept}


async def inspect(engine: Engine, request: Request) -> Answer:
    return Response.json(engine.images.inspect(_named(engine, request)))


async def history(engine: Engine, request: Request) -> Answer:
    return Response.json(engine.images.history(_named(engine, request)))


async def tag(engine: Engine, request: Request) -> Answer:
    image = _named(engine, request)
    reference = _repository_tag(request.argument("repo"), request.argument("tag"))
    engine.images.tag(image.id, reference)
    publish(engine, "tag", image, _as_given(request.argument("repo"), request.argument("tag")))
    return Response.empty(201)


def publish(engine: Engine, action: str, image: Image, name: str) -> None:
    """An event about an image, with its labels as every event has them."""
    engine.events.publish_attributes("image", action, image.id, _labels(image) | {"name": name})


def _as_given(repository: str, tag: str) -> str:
    return f"{repository}:{tag}" if tag else repository


def _repository_tag(repository: str, tag: str) -> Reference:
    reference = parse_reference(repository)
    if reference.digest:
        raise InvalidParameter("refusing to create a tag with a digest reference")
    return reference.with_tag(tag) if tag else reference.with_default_tag()


async def remove(engine: Engine, request: Request) -> Answer:
    image = _named(engine, request)
    records = await asyncio.to_thread(
        engine.images.delete,
        request.parameters["name"],
        engine.containers.image_users,
        force=request.flag("force"),
        prune=not request.flag("noprune"),
    )
    for record in records:
        if "Untagged" in record and "@" not in record["Untagged"]:
            publish(engine, "untag", image, image.id)
        elif record.get("Deleted") == image.id:
            engine.events.publish("image", "delete", image.id, name=image.id)
    return Response.json(records)


async def prune(engine: Engine, request: Request) -> Answer:
    """Images without a name, or (`dangling=false`) all that no container uses."""
    filters = request.filters()
    check_keys(filters, ("dangling", "label", "label!", "until"))
    only_dangling = truth(filters, "dangling") is not False
    until(filters)
    records: list[dict[str, str]] = []
    before = engine.images.layers_size()
    for image in engine.images.list():
        names = [ref.familiar for ref in engine.images.references(image.id)]
        if engine.containers.image_users(image.id) or (names and only_dangling):
            continue
        if not _old_enough_with_labels(image, filters):
            continue
        for name in names or [image.id]:
            try:
                records += await asyncio.to_thread(
                    engine.images.delete, name, engine.containers.image_users, force=False
                )
            except EngineError:  # another image stands on it
                continue
    reclaimed = before - engine.images.layers_size()
    engine.events.pruned("image", reclaimed)
    return Response.json({"ImagesDeleted": records or None, "SpaceReclaimed": reclaimed})


async def create(engine: Engine, request: Request) -> Answer:
    """`docker pull` (fromImage) and `docker import` (fromSrc)."""
    if request.argument("fromImage"):
        return await pull(engine, request)
    if source := request.argument("fromSrc"):
        return await _import(engine, request, source)
    raise InvalidParameter("one of fromImage and fromSrc is needed")


async def _import(engine: Engine, request: Request, source: str) -> Answer:
    if source != "-":
        raise InvalidParameter(
            f"import from {source} is not offered",
            hint="send the archive itself: docker import - NAME < FILE",
        )
    reference = None
    if repository := request.argument("repo"):
        reference = _repository_tag(repository, request.argument("tag"))
    config = apply_changes(None, request.query.get("changes", []))
    async with body_file(request) as tar:
        image = await transferring(
            engine.images.import_tar,
            tar,
            reference=reference,
            config=config,
            message=request.argument("message") or "Imported from -",
            platform=request.argument("platform"),
        )
    if reference is not None:
        publish(engine, "tag", image, reference.familiar)
    publish(engine, "import", image, image.id)
    return Response(body=json.dumps({"status": image.id}).encode() + b"\r\n")


async def load(engine: Engine, request: Request) -> Answer:
    """An archive that cannot be loaded is an error in the stream: clients look for it there."""
    try:
        async with body_file(request) as tar:
            lines = await transferring(engine.images.load, tar)
    except EngineError as error:
        return Response(body=json.dumps(stream_error(error)).encode() + b"\r\n")
    for line in lines:
        name = line.partition(": ")[2].strip()
        try:
            publish(engine, "load", engine.images.resolve(name), name)
        except EngineError:
            continue
    body = b"".join(json.dumps({"stream": f"{line.rstrip()}\n"}).encode() + b"\r\n" for line in lines)
    return Response(body=body)


async def save(engine: Engine, request: Request) -> Answer:
    if "name" in request.parameters:
        names = [request.parameters["name"]]
    else:
        names = [name for value in request.query.get("names", []) for name in value.split(",")]
    if not names:
        raise InvalidParameter("no image is named", hint="GET /images/get?names=NAME")
    for name in names:
        try:
            publish(engine, "save", engine.images.resolve(name), name)
        except NotFound as error:
            raise NotFound(f"No such image: {name}", hint=error.hint) from None
    return StreamResponse(await written(lambda out: engine.images.save(names, out)), "application/x-tar")


async def commit(engine: Engine, request: Request) -> Answer:
    container = engine.containers.get(request.argument("container"))
    body = await request.json(required=False)
    field_types.check(body, field_types.CREATE)
    reference = None
    if repository := request.argument("repo"):
        reference = _repository_tag(repository, request.argument("tag"))
    pause = request.flag("pause", True) and container.state.status == "running"
    paused = False
    if pause:
        try:
            await engine.launcher.pause(container.id)
            paused = True
        except EngineError:  # no freezer on this machine: what is written meanwhile may be in or not
            pass
    try:
        image = await commit_container(
            engine.images,
            container,
            changes=request.query.get("changes", []),
            comment=request.argument("comment"),
            author=request.argument("author"),
            config=body,
        )
    finally:
        if paused:
            with contextlib.suppress(EngineError):  # it may have been killed meanwhile
                await engine.launcher.resume(container.id)
    given = _as_given(request.argument("repo"), request.argument("tag"))
    if reference is not None:
        engine.images.tag(image.id, reference)
        publish(engine, "tag", image, given)
    engine.containers.lifecycle.publish(
        container, "commit", comment=request.argument("comment"), imageID=image.id, imageRef=given
    )
    return Response.json({"Id": image.id}, 201)
