"""What the registry refuses, as JSON that every client understands (distribution-spec, "Error Codes")."""

from __future__ import annotations

from typing import Any

from labkernel.engine.http.server import Response

#: The statuses that go with the spec's codes, and with UNKNOWN, which other registries use for the rest.
STATUS = {
    "BLOB_UNKNOWN": 404,
    "BLOB_UPLOAD_INVALID": 400,
    "BLOB_UPLOAD_UNKNOWN": 404,
    "DIGEST_INVALID": 400,
    "MANIFEST_BLOB_UNKNOWN": 404,
    "MANIFEST_INVALID": 400,
    "MANIFEST_UNKNOWN": 404,
    "NAME_INVALID": 400,
    "NAME_UNKNOWN": 404,
    "SIZE_INVALID": 413,
    "TOOMANYREQUESTS": 429,
    "UNSUPPORTED": 405,
    "UNKNOWN": 500,
}


class Refused(Exception):
    """`code` is a key of STATUS; `message` is for people, `detail` names what it is about."""

    def __init__(
        self,
        code: str,
        message: str,
        detail: Any = None,
        *,
        status: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail
        self.status = status or STATUS[code]
        self.headers = headers or {}

    def response(self) -> Response:
        error = {"code": self.code, "message": self.message}
        if self.detail is not None:
            error["detail"] = self.detail
        return Response.json({"errors": [error]}, self.status, self.headers)
