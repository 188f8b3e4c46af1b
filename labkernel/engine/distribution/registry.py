"""A client of one repository in a registry (OCI distribution-spec).

Methods block; call them from a thread.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Sequence
from typing import IO

from labkernel.engine.distribution.connection import Answer
from labkernel.engine.distribution.credentials import ANONYMOUS, Credentials
from labkernel.engine.distribution.endpoint import DOCUMENT_LIMIT, ERROR_LIMIT, Endpoint, error_words, read
from labkernel.engine.distribution.manifests import ACCEPTED, Descriptor, digest
from labkernel.engine.distribution.retry import Busy
from labkernel.engine.distribution.settings import RegistrySettings
from labkernel.engine.errors import EngineError, Forbidden, NotFound, System

#: Statuses by which something says that it is busy, or no registry at all.
_NOT_SERVING = {429, 500, 502, 503, 504}
_DENIED = "denied: requested access to the resource is denied"
#: Seconds that a registry may take to store what it was sent: some copy it, or read all of it again.
_TAKEN_TIMEOUT = 180.0
_TAGS_LIMIT = 10_000


class Registry:
    """`address` is a domain as in a reference (`docker.io`) or a mirror's `http://host:port`; `repository` as
    in a reference (`library/busybox`); `actions`: `pull` or `pull,push`. `familiar_name` is what messages
    call the repository, `sources` are other repositories that blobs may be mounted from.

    Raises Unavailable if no registry answers there, Unauthorized.
    """

    def __init__(
        self,
        address: str,
        repository: str,
        *,
        familiar_name: str,
        actions: str = "pull",
        credentials: Credentials = ANONYMOUS,
        sources: Sequence[str] = (),
        settings: RegistrySettings | None = None,
    ) -> None:
        self.repository = repository
        self.familiar_name = familiar_name
        self._actions = actions
        scopes = [f"repository:{repository}:{actions}", *(f"repository:{name}:pull" for name in sources)]
        self._endpoint = Endpoint(
            address, credentials=credentials, scopes=scopes, settings=settings or RegistrySettings()
        )
        self._host = self._endpoint.host

    # --- manifests

    def manifest(self, selector: str) -> tuple[bytes, str]:
        """A manifest by tag or digest: its bytes, checked against a digest, and its media type. Raises
        NotFound..."""
        answer = self._request("GET", f"manifests/{selector}", {"Accept": ", ".join(ACCEPTED)})
        data = read(answer, DOCUMENT_LIMIT)
        if answer.status != 200:
            raise self._error(answer, data, selector)
        if selector.startswith("sha256:") and digest(data) != selector:
            raise System(f"manifest verification failed for digest {selector}")
        return data, answer.headers.get("Content-Type", "").partition(";")[0]

    def put_manifest(self, selector: str, data: bytes, media_type: str) -> None:
        answer = self._request("PUT", f"manifests/{selector}", {"Content-Type": media_type}, data)
        body = read(answer, ERROR_LIMIT)
        if answer.status not in (201, 202):
            raise self._error(answer, body, selector)

    def tags(self) -> list[str]:
        """All tags of the repository, page by page. Raises NotFound..."""
        found: list[str] = []
        url = f"{self.repository}/tags/list"
        while url and len(found) < _TAGS_LIMIT:
            answer = self._endpoint.request("GET", url)
            data = read(answer, DOCUMENT_LIMIT)
            if answer.status != 200:
                raise self._error(answer, data, "")
            found += _strings(data, "tags")
            url = next_page(url, answer)
        return found

    # --- blobs

    def blob(self, descriptor: Descriptor, offset: int = 0) -> Answer:
        """A blob's bytes from `offset` on (status 206), or from the start if the registry will not do that
        (200). The caller checks size and digest, and closes it."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        answer = self._request("GET", f"blobs/{descriptor.digest}", headers)
        if answer.status not in (200, 206):
            raise self._error(answer, read(answer, ERROR_LIMIT), descriptor.digest)
        return answer

    def has_blob(self, blob_digest: str) -> bool:
        answer = self._request("HEAD", f"blobs/{blob_digest}")
        data = read(answer, ERROR_LIMIT)
        if answer.status in (200, 404):
            return answer.status == 200
        raise self._error(answer, data, blob_digest)

    def mount(self, blob_digest: str, source: str) -> bool:
        """Have a blob of another repository in this one too (distribution-spec, "Mounting a blob from another
        repository"); False where the registry will not."""
        query = urllib.parse.urlencode({"mount": blob_digest, "from": source})
        answer = self._request("POST", f"blobs/uploads/?{query}", {"Content-Length": "0"}, b"")
        read(answer, ERROR_LIMIT)
        if answer.status == 202:  # An upload was begun instead.
            read(self._endpoint.request("DELETE", answer.headers.get("Location", "")), ERROR_LIMIT)
        return answer.status == 201

    # --- uploads (distribution-spec, "Pushing a blob in chunks")

    def begin_upload(self) -> str:
        """Where the bytes go."""
        answer = self._request("POST", "blobs/uploads/", {"Content-Length": "0"}, b"")
        return self._location(answer, 202)

    def upload_status(self, location: str) -> tuple[str, int]:
        """Where an upload goes on, and how many of its bytes are there; what ends at 0 counts as none. Raises
        NotFound for one that the registry forgot."""
        answer = self._endpoint.request("GET", location)
        location = self._location(answer, 204)
        last = answer.headers.get("Range", "").rpartition("-")[2]
        return location, int(last) + 1 if last.isdigit() and int(last) else 0

    def append(self, location: str, body: IO[bytes], start: int, size: int) -> str:
        """Send bytes `start` to `size`, all that is left; where the upload is ended."""
        headers = {"Content-Length": str(size - start), "Content-Type": "application/octet-stream"}
        if start:  # Not for all of it, which old registries take too.
            headers["Content-Range"] = f"{start}-{size - 1}"
        answer = self._endpoint.request("PATCH", location, headers, body, timeout=_TAKEN_TIMEOUT)
        return self._location(answer, 202)

    def end_upload(self, location: str, blob_digest: str) -> None:
        separator = "&" if "?" in location else "?"
        url = f"{location}{separator}digest={urllib.parse.quote(blob_digest)}"
        headers = {"Content-Length": "0"}
        answer = self._endpoint.request("PUT", url, headers, b"", timeout=_TAKEN_TIMEOUT)
        data = read(answer, ERROR_LIMIT)
        if answer.status not in (201, 204):
            raise self._error(answer, data, blob_digest)

    def _location(self, answer: Answer, expected: int) -> str:
        data = read(answer, ERROR_LIMIT)
        if answer.status != expected:
            raise self._error(answer, data, "")
        return urllib.parse.urljoin(self._endpoint.base, answer.headers.get("Location", ""))

    # --- requests and errors

    def _request(
        self,
        method: str,
        name: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        return self._endpoint.request(method, f"{self.repository}/{name}", headers, body)

    def _error(self, answer: Answer, data: bytes, subject: str) -> EngineError:
        """A registry's refusal in the words dockerd has for it (distribution-spec, "Error Codes")."""
        code, words = error_words(data)
        name = self.familiar_name
        separator = "@" if subject.startswith("sha256:") else ":"
        reason = f"{code.lower().replace('_', ' ')}: {words}" if code else f"status {answer.status}"
        if code == "TOOMANYREQUESTS" or answer.status in _NOT_SERVING:
            busy = Busy(f"{self._host}: {reason}", hint=f"the registry {self._host} does not serve now")
            after = answer.headers.get("Retry-After", "")
            busy.seconds = int(after) if after.isdigit() else 0
            return busy
        if self._actions != "pull" and answer.status in (401, 403):
            words = "unauthorized: authentication required" if answer.status == 401 else _DENIED
            return Forbidden(reason if code else words)
        if code == "MANIFEST_UNKNOWN":
            return NotFound(f"manifest for {name}{separator}{subject} not found: {reason}")
        if code == "NAME_UNKNOWN":
            return NotFound(f"repository {name} not found: {reason}")
        if code == "DENIED" or answer.status in (401, 403):
            return NotFound(
                f"pull access denied for {name}, repository does not exist or may require 'docker login': "
                f"{reason}"
            )
        if answer.status == 404:
            return NotFound(f"{self._host}: {name}{separator}{subject} not found: {reason}")
        return System(f"{self._host}: {reason}")


def next_page(url: str, answer: Answer) -> str:
    """Where a list goes on (RFC 8288, rel="next"); empty where it ends."""
    target, _, relation = answer.headers.get("Link", "").partition(">")
    if 'rel="next"' not in relation and "rel=next" not in relation:
        return ""
    return urllib.parse.urljoin(url, target.strip().removeprefix("<"))


def _strings(data: bytes, key: str) -> list[str]:
    """The list of strings under a key of a JSON object. Raises System."""
    try:
        found = json.loads(data)[key] or []
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise System(f"the registry's answer has no list of {key}") from error
    if not isinstance(found, list):
        raise System(f"the registry's answer has no list of {key}")
    return [str(item) for item in found]
