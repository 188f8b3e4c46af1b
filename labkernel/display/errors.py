"""What can go wrong with a screen, in words for its user."""

from __future__ import annotations


class DisplayError(Exception):
    """`message` says what happened, `why` and `hint` are optional."""

    def __init__(self, message: str, *, why: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.why = why
        self.hint = hint
