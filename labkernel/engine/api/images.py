"""`/images` and `/commit`."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from labkernel.engine.api.errors import stream_error
from labkernel.engine.api.http import Answer, Request, Response, StreamResponse
from labkernel.engine.api.transfer import body_file, written
from labkernel.engine.commit import apply_changes
from labkernel.engine.commit import commit as commit_container
from labkernel.engine.engine import Engine
from labkernel.engine.errors import EngineError, InvalidParameter, NotFound, System
from labkernel.engine.image.images import Image
from labkernel.engine.image.reference import Reference, parse_reference

log = logging.getLogger(__name__)

Output = Callable[[dict[str, Any]], None]
_FILTERS = frozenset("before dangling label reference since until".split())


def _named(engine: Engine, request: Request) -> Image:
    return engine.images.resolve(request.parameters["name"])


def json_lines(work: Callable[[Output], Coroutine[Any, Any, Any]]) -> StreamResponse:
    """A stream of JSON messages, one a line, ended by the error that ended the work; cancelled with its client."""
    queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    async def run() -> None:
        try:
            await work(queue.put_nowait)
        except EngineError as error:
            queue.put_nowait(stream_error(error))
        except Exception as error:
            log.exception("in the middle of a stream")
            queue.put_nowait(stream_error(System(f"internal error: {type(error).__name__}: {error}")))
        finally:
            queue.put_nowait(None)

    async def chunks() -> AsyncIterator[bytes]:
        task = asyncio.ensure_future(run())
        try:
            while (message := await queue.get()) is not None:
                yield json.dumps(message, separators=(",", ":")).encode() + b"\r\n"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return StreamResponse(chunks())


def registry_auth(request: Request) -> dict[str, Any] | None:
    """The credentials of the header X-Registry-Auth. Raises InvalidParameter."""
    text = request.headers.get("x-registry-auth")
    if not text:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        raise InvalidParameter("invalid X-Registry-Auth header: not base64 of JSON") from None
    return found if isinstance(found, dict) and found else None


async def list_(engine: Engine, request: Request) -> Answer:
    filters = request.filters()
    if name := request.argument("filter"):
        filters.setdefault("reference", []).append(name)
    for key in filters:
        if key not in _FILTERS:
            raise InvalidParameter(f"Invalid filter '{key}'")
    shared = request.flag("shared-size")
    found = engine.images.list(all=request.flag("all"))
    shown = [
        engine.images.summary(image, shared_size=shared)
        for image in found
        if _passes(engine, image, filters)
    ]
    if names := filters.get("reference"):
        shown = [_only_tags(summary, names) for summary in shown]
    return Response.json(shown)


def _passes(engine: Engine, image: Image, filters: dict[str, list[str]]) -> bool:
    references = [ref for ref in engine.images.references(image.id) if ref.tag]
    labels = (image.config.get("config") or {}).get("Labels") or {}
    if "dangling" in filters and (not references) != (filters["dangling"][0].lower() in ("1", "true")):
        return False
    for label in filters.get("label", ()):
        key, has_value, value = label.partition("=")
        if key not in labels or (has_value and labels[key] != value):
            return False
    if (names := filters.get("reference")) and not any(_matches(ref, name) for ref in references for name in names):
        return False
    if (names := filters.get("before")) and image.created >= engine.images.resolve(names[0]).created:
        return False
    return not ((names := filters.get("since")) and image.created <= engine.images.resolve(names[0]).created)


def _matches(reference: Reference, pattern: str) -> bool:
    from fnmatch import fnmatchcase

    return any(
        fnmatchcase(text, pattern)
        for text in (reference.familiar, reference.familiar_name, reference.canonical, reference.name)
    )


def _only_tags(summary: dict[str, Any], names: list[str]) -> dict[str, Any]:
    kept = [
        tag for tag in summary["RepoTags"] or [] if any(_matches(parse_reference(tag), name) for name in names)
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
    engine.events.publish("image", "tag", image.id, name=reference.familiar)
    return Response.empty(201)


def _repository_tag(repository: str, tag: str) -> Reference:
    reference = parse_reference(repository)
    if reference.digest:
        raise InvalidParameter("refusing to create a tag with a digest reference")
    return reference.with_tag(tag) if tag else reference.with_default_tag()


async def remove(engine: Engine, request: Request) -> Answer:
    records = await asyncio.to_thread(
        engine.images.delete,
        request.parameters["name"],
        engine.containers.image_users,
        force=request.flag("force"),
        prune=not request.flag("noprune"),
    )
    for record in records:
        for action, name in record.items():
            event = {"Untagged": "untag", "Deleted": "delete"}[action]
            engine.events.publish("image", event, name, name=name)
    return Response.json(records)


async def prune(engine: Engine, request: Request) -> Answer:
    """Images without a name, or (`dangling=false`) all that no container uses."""
    filters = request.filters()
    only_dangling = filters.get("dangling", ["true"])[0].lower() in ("1", "true")
    records: list[dict[str, str]] = []
    before = engine.images.disk_usage(lambda _: 0)["LayersSize"]
    for image in engine.images.list():
        names = [ref.familiar for ref in engine.images.references(image.id)]
        if engine.containers.image_users(image.id) or (names and only_dangling):
            continue
        for name in names or [image.id]:
            try:
                records += await asyncio.to_thread(
                    engine.images.delete, name, engine.containers.image_users, force=False
                )
            except EngineError:  # another image stands on it
                continue
    after = engine.images.disk_usage(lambda _: 0)["LayersSize"]
    return Response.json({"ImagesDeleted": records or None, "SpaceReclaimed": before - after})


async def create(engine: Engine, request: Request) -> Answer:
    """`docker pull` (fromImage) and `docker import` (fromSrc)."""
    if name := request.argument("fromImage"):
        tag_or_digest = request.argument("tag")
        reference = parse_reference(name)
        if tag_or_digest and ":" in tag_or_digest:
            reference = reference.with_digest(tag_or_digest)
        elif tag_or_digest:
            reference = reference.with_tag(tag_or_digest)
        reference = reference.with_default_tag()
        auth = registry_auth(request)
        return json_lines(lambda output: engine.base_images.pull(reference, output, auth))
    if source := request.argument("fromSrc"):
        return await _import(engine, request, source)
    raise InvalidParameter("one of fromImage and fromSrc is needed")


async def _import(engine: Engine, request: Request, source: str) -> Answer:
    if source != "-":
        raise InvalidParameter(
            f"import from {source} is not offered", hint="send the archive itself: docker import - NAME < FILE"
        )
    reference = None
    if repository := request.argument("repo"):
        reference = _repository_tag(repository, request.argument("tag"))
    config = apply_changes(None, request.query.get("changes", []))
    async with body_file(request) as tar:
        image = await asyncio.to_thread(
            engine.images.import_tar,
            tar,
            reference=reference,
            config=config,
            message=request.argument("message") or "Imported from -",
        )
    if reference is not None:
        engine.events.publish("image", "tag", image.id, name=reference.familiar)
    engine.events.publish("image", "import", image.id, name=image.id)
    return Response(body=json.dumps({"status": image.id}).encode() + b"\r\n")


async def load(engine: Engine, request: Request) -> Answer:
    async with body_file(request) as tar:
        lines = await asyncio.to_thread(engine.images.load, tar)
    for line in lines:
        name = line.partition(": ")[2].strip()
        try:
            engine.events.publish("image", "load", engine.images.resolve(name).id, name=name)
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
        image = _resolve_for_save(engine, name)
        engine.events.publish("image", "save", image.id, name=name)
    return StreamResponse(await written(lambda out: engine.images.save(names, out)), "application/x-tar")


def _resolve_for_save(engine: Engine, name: str) -> Image:
    try:
        return engine.images.resolve(name)
    except NotFound as error:
        raise NotFound(f"reference does not exist: {name}", hint=error.hint) from None


async def push(engine: Engine, request: Request) -> Answer:
    reference = parse_reference(request.parameters["name"])
    if tag := request.argument("tag"):
        reference = reference.with_tag(tag)
    reference = reference.with_default_tag()
    image = engine.images.resolve(reference.canonical)
    auth = registry_auth(request)
    return json_lines(lambda output: engine.base_images.push(image, reference, output, auth))


async def search(engine: Engine, request: Request) -> Answer:
    """What the catalog can make, and what is here: there is no index of the world's images to ask."""
    term = request.argument("term")
    if not term:
        raise InvalidParameter("a search term is needed")
    found = [
        {"name": name, "description": text, "is_official": True, "is_automated": False, "star_count": 0}
        for name, text in engine.base_images.descriptions().items()
        if term in name or term in text
    ]
    known = {entry["name"] for entry in found}
    for image in engine.images.list():
        for reference in engine.images.references(image.id):
            name = reference.familiar_name
            if term in name and name not in known:
                known.add(name)
                found.append(
                    {"name": name, "description": "is here already", "is_official": False, "is_automated": False, "star_count": 0}
                )
    return Response.json(found)


async def commit(engine: Engine, request: Request) -> Answer:
    container = engine.containers.get(request.argument("container"))
    body = await request.json(required=False)
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
            await engine.launcher.resume(container.id)
    if reference is not None:
        engine.images.tag(image.id, reference)
        engine.events.publish("image", "tag", image.id, name=reference.familiar)
    engine.containers.lifecycle.publish(
        container, "commit", comment=request.argument("comment"), imageID=image.id,
        imageRef=reference.familiar if reference else "",
    )
    return Response.json({"Id": image.id}, 201)
