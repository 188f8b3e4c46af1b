"""The kinds of error an engine call can end with.

A kind says what sort of failure it was; `labkernel.engine.api.errors` alone maps kinds to HTTP statuses.
The message is what the user reads, in Docker's own words where Docker has words for it. The hint, where
there is one, says what to do next.
"""

from __future__ import annotations

from typing import Any


class EngineError(Exception):
    """A failure with a message for the user and, where one helps, a hint about what to do.

    `details` are fields of ours that the API gives beside the two.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = {}

    def __str__(self) -> str:
        return self.message


class InvalidParameter(EngineError):
    """The request is malformed or asks for something that cannot be."""


class Unauthorized(EngineError):
    """Credentials are missing or wrong."""


class Forbidden(EngineError):
    """The request is understood and refused."""


class NotFound(EngineError):
    """What the request names does not exist."""


class Conflict(EngineError):
    """The request contradicts the present state: a name in use, a container running."""


class NotModified(EngineError):
    """Nothing to do: the container is already in the state asked for."""


class NotOffered(EngineError):
    """The engine does not offer this."""


class Unavailable(EngineError):
    """Something the engine depends on does not answer."""


class System(EngineError):
    """The engine failed at something it should have been able to do."""
