"""Failures as a notebook shows them: one block that says what happened and what to do, never a traceback.

They are exceptions all the same, so a headless run of the notebook stops where a learner would.
"""

from __future__ import annotations

import re

from labkernel.commands import CommandError

_LONGEST = 120
_FAINT, _OFF = "\x1b[2m", "\x1b[0m"


class CellError(CommandError):
    """A CommandError in colours."""

    @classmethod
    def of(cls, error: CommandError) -> CellError:
        """The same error; what the cell shows already is left out."""
        return cls(
            _shortened(error.what) if error.is_shown else error.what,
            where=error.where,
            why=error.why,
            hint=None if error.is_shown else error.hint,
            exit_code=error.exit_code,
            details=error.details,
            failure=None if error.is_shown else error.failure,
        )

    def _render_traceback_(self) -> list[str]:
        """IPython shows this in place of a traceback."""
        return [self.rendered(in_colours=True)]


def _shortened(message: str) -> str:
    """Docker's message about a RUN without most of the command, which the picture has in full."""
    found = re.fullmatch(r"(The command '.*)(' returned a non-zero code: \d+)", message, re.DOTALL)
    if found is None or (len(message) <= _LONGEST and "\n" not in message):
        return message
    return " ".join(found[1].split())[:_LONGEST] + "…" + found[2]


class Interrupted(KeyboardInterrupt):
    """The user stopped the cell; there is nothing to explain but what became of the container."""

    def _render_traceback_(self) -> list[str]:
        """IPython shows this in place of a traceback."""
        return [f"{_FAINT}interrupted{_OFF}" + (f": {self}" if str(self) else "")]
