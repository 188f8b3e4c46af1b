"""The registry's API: URL -> what is stored -> answer (OCI distribution-spec 1.1, and Docker's catalog)."""

from __future__ import annotations

import errno
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from labkernel.engine.distribution.manifests import OCI_INDEX, OCI_MANIFEST
from labkernel.engine.distribution.server import documents
from labkernel.engine.distribution.server.errors import Refused
from labkernel.engine.distribution.server.names import check_digest, check_name, is_digest, is_tag
from labkernel.engine.distribution.server.store import Store, StoredManifest
from labkernel.engine.distribution.server.uploads import Upload, Uploads
from labkernel.engine.http.byte_queue import Disconnected
from labkernel.engine.http.server import Answer, FileResponse, Request, Response

log = logging.getLogger(__name__)

HEADERS = {"Docker-Distribution-Api-Version": "registry/2.0"}
"""What goes with every answer: Docker's clients know a registry by it."""
PAGE = 1000
"""Entries of a list at most."""

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_CONTENT_RANGE = re.compile(r"(?:bytes )?(\d+)-(\d+)(?:/.*)?")

Handler = Callable[[Request, str, str], Awaitable[Answer]]


class Registry:
    """Answers requests; `handle` is what an HTTP server calls."""

    def __init__(self, store: Store, uploads: Uploads) -> None:
        self._store = store
        self._uploads = uploads
        name = r"/v2/(?P<name>.+)"
        self._routes: list[tuple[re.Pattern[str], dict[str, Handler]]] = [
            (re.compile(r"/v2/?"), {"GET": self._version}),
            (re.compile(r"/v2/_catalog"), {"GET": self._catalog}),
            (re.compile(rf"{name}/tags/list"), {"GET": self._tags}),
            (re.compile(rf"{name}/blobs/uploads/?"), {"POST": self._begin_upload}),
            (
                re.compile(rf"{name}/blobs/uploads/(?P<reference>[^/]+)"),
                {
                    "GET": self._upload_status,
                    "PATCH": self._append,
                    "PUT": self._finish,
                    "DELETE": self._cancel,
                },
            ),
            (
                re.compile(rf"{name}/blobs/(?P<reference>[^/]+)"),
                {"GET": self._blob, "DELETE": self._delete_blob},
            ),
            (
                re.compile(rf"{name}/manifests/(?P<reference>[^/]+)"),
                {"GET": self._manifest, "PUT": self._put_manifest, "DELETE": self._delete_manifest},
            ),
            (re.compile(rf"{name}/referrers/(?P<reference>[^/]+)"), {"GET": self._referrers}),
        ]

    async def handle(self, request: Request) -> Answer:
        try:
            return await self._dispatch(request)
        except Refused as error:
            return error.response()
        except Disconnected:
            raise
        except OSError as error:
            log.exception("%s %s", request.method, request.path)
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            return Refused("UNKNOWN", error.strerror or str(error), status=507 if full else 500).response()
        except Exception as error:
            log.exception("%s %s", request.method, request.path)
            return Refused("UNKNOWN", f"internal error: {type(error).__name__}: {error}").response()

    async def _dispatch(self, request: Request) -> Answer:
        for pattern, methods in self._routes:
            if match := pattern.fullmatch(request.path):
                handler = methods.get("GET" if request.method == "HEAD" else request.method)
                if handler is None:
                    raise Refused(
                        "UNSUPPORTED", "the operation is unsupported", headers={"Allow": ", ".join(methods)}
                    )
                found = match.groupdict()
                name = check_name(found["name"]) if "name" in found else ""
                return await handler(request, name, found.get("reference") or "")
        raise Refused("UNSUPPORTED", "there is no such address in a registry", status=404)

    # --- the registry and its lists

    async def _version(self, request: Request, _name: str, _reference: str) -> Answer:
        return Response(body=b"{}")

    async def _catalog(self, request: Request, _name: str, _reference: str) -> Answer:
        return _page(request, "repositories", self._store.repositories, {})

    async def _tags(self, request: Request, name: str, _reference: str) -> Answer:
        self._store.require(name)
        return _page(request, "tags", lambda last, limit: self._store.tags(name, last, limit), {"name": name})

    async def _referrers(self, request: Request, name: str, reference: str) -> Answer:
        wanted = request.argument("artifactType")
        found = self._store.referrers(name, check_digest(reference), wanted)
        answer = Response.json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found})
        answer.content_type = OCI_INDEX
        if wanted:
            answer.headers["OCI-Filters-Applied"] = "artifactType"
        return answer

    # --- manifests

    async def _manifest(self, request: Request, name: str, reference: str) -> Answer:
        found = self._store.manifest(name, reference)
        headers = {"Docker-Content-Digest": found.digest}
        return Response(200, found.content, found.media_type, headers)

    async def _put_manifest(self, request: Request, name: str, reference: str) -> Answer:
        data = await _document(request)
        media_type = request.headers.get("content-type", "").partition(";")[0].strip() or OCI_MANIFEST
        algorithm, tags = "sha256", [reference]
        if ":" in reference:
            algorithm, tags = check_digest(reference).partition(":")[0], []
        elif not is_tag(reference):
            raise Refused("MANIFEST_INVALID", "invalid tag", {"tag": reference})
        digest = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
        if ":" in reference and digest != reference:
            raise Refused(
                "DIGEST_INVALID",
                "provided digest did not match uploaded content",
                {"digest": reference, "computed": digest},
            )
        parts = documents.parse(data, media_type)
        self._store.add_manifest(name, StoredManifest(digest, media_type, data), parts, tags)
        headers = {"Location": f"/v2/{name}/manifests/{digest}", "Docker-Content-Digest": digest}
        if parts.subject:
            headers["OCI-Subject"] = parts.subject
        return Response(201, headers=headers)

    async def _delete_manifest(self, request: Request, name: str, reference: str) -> Answer:
        if is_digest(reference):
            self._store.delete_manifest(name, reference)
        else:
            self._store.delete_tag(name, reference)
        return Response(202)

    # --- blobs

    async def _blob(self, request: Request, name: str, reference: str) -> Answer:
        digest = check_digest(reference)
        size = self._store.blob_size(name, digest)
        headers = {"Docker-Content-Digest": digest, "Accept-Ranges": "bytes"}
        start, end = _range(request.headers.get("range", ""), size)
        status = 200
        if (start, end) != (0, size):
            status = 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        return FileResponse(self._store.open_blob(digest), start, end - start, status=status, headers=headers)

    async def _delete_blob(self, request: Request, name: str, reference: str) -> Answer:
        self._store.delete_blob(name, check_digest(reference))
        return Response(202)

    # --- uploads

    async def _begin_upload(self, request: Request, name: str, _reference: str) -> Answer:
        if mounted := request.argument("mount"):
            # Nobody is kept from any repository here, so it does not matter which one has the blob.
            if self._store.mount(name, check_digest(mounted)):
                return _created(name, mounted)
            return _accepted(self._uploads.begin(name))
        digest = request.argument("digest")
        if not digest:
            return _accepted(self._uploads.begin(name))
        check_digest(digest)
        upload = self._uploads.begin(name)
        with self._uploads.writing(upload):
            try:
                await self._uploads.append(upload, request.body)
                await self._uploads.finish(upload, digest)
            except BaseException:
                self._uploads.cancel(upload)  # Nobody was told of it.
                raise
        return _created(name, digest)

    async def _upload_status(self, request: Request, name: str, reference: str) -> Answer:
        return _accepted(self._uploads.get(name, reference), status=204)

    async def _append(self, request: Request, name: str, reference: str) -> Answer:
        upload = self._uploads.get(name, reference)
        with self._uploads.writing(upload):
            _check_order(request, upload)
            await self._uploads.append(upload, request.body)
        return _accepted(upload)

    async def _finish(self, request: Request, name: str, reference: str) -> Answer:
        upload = self._uploads.get(name, reference)
        digest = check_digest(request.argument("digest"))
        with self._uploads.writing(upload):
            _check_order(request, upload)
            await self._uploads.append(upload, request.body)
            await self._uploads.finish(upload, digest)
        return _created(name, digest)

    async def _cancel(self, request: Request, name: str, reference: str) -> Answer:
        upload = self._uploads.get(name, reference)
        with self._uploads.writing(upload):
            self._uploads.cancel(upload)
        return Response.empty()


def _created(name: str, digest: str) -> Response:
    return Response(201, headers={"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest})


def _accepted(upload: Upload, status: int = 202) -> Response:
    """How far an upload is: the last byte's number, which is 0 too where there is none (as Docker's)."""
    headers = {
        "Location": f"/v2/{upload.repository}/blobs/uploads/{upload.id}",
        "Docker-Upload-Uuid": upload.id,
        "Range": f"0-{max(upload.size - 1, 0)}",
    }
    return Response(status, headers=headers)


def _check_order(request: Request, upload: Upload) -> None:
    """A piece must begin where the last one ended (distribution-spec, "Pushing a blob in chunks")."""
    given = request.headers.get("content-range")
    if given is None:
        return
    match = _CONTENT_RANGE.fullmatch(given)
    length = request.headers.get("content-length", "")
    whole = match is not None and (not length.isdigit() or int(match[2]) - int(match[1]) + 1 == int(length))
    if match is None or not whole:
        raise Refused("BLOB_UPLOAD_INVALID", "Content-Range is not that of the body", {"range": given})
    if int(match[1]) != upload.size:
        raise Refused(
            "BLOB_UPLOAD_INVALID",
            "pieces must be uploaded in order",
            {"range": given, "expected": upload.size},
            status=416,
            headers=_accepted(upload).headers,
        )


def _range(header: str, size: int) -> tuple[int, int]:
    """First byte and the one after the last that are wanted; one range only, as RFC 9110 allows (14.2).
    Raises Refused."""
    match = _RANGE.fullmatch(header)
    if match is None or match[1] == match[2] == "":
        return 0, size
    if not match[1]:
        start, end = max(size - int(match[2]), 0), size
    else:
        start, end = int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
    if start >= end:
        raise Refused(
            "SIZE_INVALID", "no such range", {"size": size}, status=416,
            headers={"Content-Range": f"bytes */{size}"},
        )  # fmt: skip
    return start, end


async def _document(request: Request) -> bytes:
    data = bytearray()
    async for chunk in request.body:
        data += chunk
        if len(data) > documents.MANIFEST_LIMIT:
            raise Refused("SIZE_INVALID", f"a manifest has {documents.MANIFEST_LIMIT} bytes at most")
    return bytes(data)


def _page(
    request: Request, key: str, entries: Callable[[str, int], list[str]], rest: dict[str, str]
) -> Response:
    """A list, or the part of it that `n` and `last` ask for, and where it goes on."""
    text = request.argument("n")
    if text and not text.isdigit():
        raise Refused("UNSUPPORTED", "n is no number", {"n": text}, status=400)
    limit = min(int(text), PAGE) if text else PAGE
    found = entries(request.argument("last"), limit + 1)
    answer = Response.json({**rest, key: found[:limit]})
    if len(found) > limit > 0:
        path = quote(request.path)
        answer.headers["Link"] = f'<{path}?n={limit}&last={quote(found[limit - 1], safe="")}>; rel="next"'
    return answer
