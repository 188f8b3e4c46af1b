"""What a check is: a function whose docstring the learner reads."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, overload

if TYPE_CHECKING:
    from labkernel.course.lab import Lab


class Failed(Exception):
    """What was asked for is not there: what was expected and what was found, and perhaps what to try next."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def fail(message: str, *, hint: str | None = None) -> NoReturn:
    """End a check as failed. `message` says what was expected and what was found instead."""
    raise Failed(message, hint)


@dataclass(frozen=True)
class Check:
    """`title` is the docstring; `after` are the checks without which this one makes no sense."""

    name: str
    title: str
    function: Callable[[Lab], None]
    after: tuple[Check, ...] = ()

    def __call__(self, lab: Lab) -> None:
        """Raises Failed; any other exception is an error of the check's own."""
        self.function(lab)


@overload
def check(function: Callable[[Lab], None], /) -> Check: ...
@overload
def check(*, after: Check | tuple[Check, ...] = ()) -> Callable[[Callable[[Lab], None]], Check]: ...
def check(function: Callable[[Lab], None] | None = None, /, *, after: Check | tuple[Check, ...] = ()) -> Any:
    """Make a function a check: `@check`, or `@check(after=other)` for one that is skipped unless others pass.

    Raises TypeError for a function without a docstring: the learner would see nothing.
    """

    def made(function: Callable[[Lab], None]) -> Check:
        title = inspect.getdoc(function)
        if not title:
            raise TypeError(f"the check {function.__name__} needs a docstring: the learner reads it")
        return Check(
            function.__name__, title, function, (after,) if isinstance(after, Check) else tuple(after)
        )

    return made(function) if function is not None else made
