"""HTTP to a registry with nothing hidden."""

from __future__ import annotations

import hashlib
import http.client
import json
from dataclasses import dataclass
from typing import Any

from labkernel.engine.distribution.manifests import OCI_MANIFEST

EMPTY = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Of the error in the answer."""
        (error,) = self.json()["errors"]
        assert error["message"]
        return str(error["code"])


class Client:
    def __init__(self, domain: str) -> None:
        self.domain = domain

    def call(self, method: str, url: str, body: Any = None, **headers: str) -> Answer:
        """One request on a connection of its own; names of headers with underscores for dashes. A body that
        is an iterable goes in chunks."""
        connection = http.client.HTTPConnection(self.domain, timeout=20)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, url, body, named)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def begin(self, name: str) -> str:
        """Begin an upload; where it goes."""
        answer = self.call("POST", f"/v2/{name}/blobs/uploads/")
        assert answer.status == 202
        return str(answer.headers["Location"])

    def push_blob(self, name: str, data: bytes) -> str:
        digest = digest_of(data)
        answer = self.call("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", data)
        assert answer.status == 201, answer.body
        assert self.call("GET", answer.headers["Location"]).body == data
        return digest

    def push_manifest(
        self, name: str, reference: str, document: dict[str, Any], media_type: str = OCI_MANIFEST
    ) -> Answer:
        data = json.dumps({"schemaVersion": 2, "mediaType": media_type, **document}).encode()
        return self.call("PUT", f"/v2/{name}/manifests/{reference}", data, Content_Type=media_type)

    def push_artifact(self, name: str, reference: str = "v1", **more: Any) -> str:
        """A manifest without layers; its digest."""
        self.push_blob(name, b"{}")
        answer = self.push_manifest(name, reference, artifact(**more))
        assert answer.status == 201, answer.body
        return str(answer.headers["Docker-Content-Digest"])


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def artifact(**more: Any) -> dict[str, Any]:
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": EMPTY, "size": 2}
    return {"config": config, "layers": [], **more}
