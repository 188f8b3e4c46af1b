"""The one place where kinds of error become HTTP statuses."""

from __future__ import annotations

from typing import Any

from labkernel.engine import errors
from labkernel.engine.http.server import Response

STATUS: dict[type[errors.EngineError], int] = {
    errors.InvalidParameter: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.NotModified: 304,
    errors.NotOffered: 501,
    errors.Unavailable: 503,
    errors.System: 500,
}


def status_of(error: errors.EngineError) -> int:
    """The status of the nearest kind; 500 for a bare EngineError."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 500


def error_body(error: errors.EngineError) -> dict[str, Any]:
    """`message` is Docker's field, in Docker's words; `hint` and `details` are fields of ours that other
    clients pass over.
    """
    body: dict[str, Any] = {**error.details, "message": error.message}
    if error.hint:
        body["hint"] = error.hint
    return body


def stream_error(error: errors.EngineError, code: int | None = None) -> dict[str, Any]:
    """The last message of a JSON stream that failed after its 200 was sent."""
    detail: dict[str, Any] = {} if code is None else {"code": code}
    return {"errorDetail": detail | error_body(error), "error": error.message}


def error_response(error: errors.EngineError) -> Response:
    status = status_of(error)
    if status == 304:
        return Response.empty(304)
    return Response.json(error_body(error), status)
