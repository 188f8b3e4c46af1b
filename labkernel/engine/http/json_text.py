"""JSON as Go's encoding/json takes it and speaks of it: Docker's clients show its words as they are."""

from __future__ import annotations

import json
from typing import Any

from labkernel.engine.errors import InvalidParameter


def object_from(data: bytes | bytearray) -> dict[str, Any]:
    """A JSON object, empty for `null`. Raises InvalidParameter: not JSON, or not an object."""
    try:
        value = json.loads(data)
    except json.JSONDecodeError as error:
        raise InvalidParameter(json_error(error, "unexpected EOF")) from None
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"invalid JSON: {error}") from None
    if b"\\ud" in data.lower():
        value = _whole(value)
    if value is None:
        return {}
    if not isinstance(value, dict):
        kind = {list: "array", str: "string", bool: "bool"}.get(type(value), "number")
        raise InvalidParameter(f"json: cannot unmarshal {kind} into Go value of type object")
    return value


def _whole(value: Any) -> Any:
    """A JSON value in which half a surrogate pair has become U+FFFD, as in Go: it is no text."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole(element) for element in value]
    if isinstance(value, dict):
        return {_whole(key): _whole(element) for key, element in value.items()}
    return value


def json_error(error: json.JSONDecodeError, at_end: str) -> str:
    """What Go's encoding/json says of the same text: Docker's clients show it as it is."""
    rest = error.doc[error.pos :].lstrip()
    return f"invalid character '{rest[0]}' looking for beginning of value" if rest else at_end
