"""What a view shows at one moment: text, HTML, and the data that the Lab extension draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from labkernel.commands import Result

MIME = "application/vnd.labkernel.view+json"
"""The type of the data. Its fields for every kind are listed in the extension's static/views.js."""


@dataclass(repr=False)
class Picture(Result):
    """A Result that the Lab extension can draw. `data` has nothing but what JSON has."""

    kind: ClassVar[str]
    show: Callable[[], None] | None = field(default=None, init=False, compare=False)
    """Puts it below the cell, and keeps it up to date there; set by the magic that made it."""

    @property
    def data(self) -> dict[str, Any]:
        raise NotImplementedError

    def bundle(self, **frame: Any) -> dict[str, Any]:
        """All forms of it by MIME type; `frame` are the fields that every kind has."""
        return {
            "text/plain": self.text,
            "text/html": self._repr_html_(),
            MIME: {"kind": self.kind, **frame, **self.data},
        }
