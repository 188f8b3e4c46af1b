"""Completion in the magics: commands, flags, and the names of images and containers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from labkernel.commands import Command, parse
from labkernel.commands.errors import container_names, local_names
from labkernel.commands.table import COMMANDS, GROUPS
from labkernel.course import find_exercise
from labkernel.notebook.choice import Choice

_MAGIC = re.compile(
    r"\s*(?:\w+\s*=\s*)?%(%?)(docker|container|image|layers|ports|logs|check|dockerfile)\s(.*)", re.DOTALL
)


class Completion:
    """A matcher for IPython's completer, for one shell's completer."""

    def __init__(self, choice: Choice) -> None:
        from IPython.core.completer import context_matcher

        self.choice = choice

        @context_matcher(identifier="labkernel")  # type: ignore[untyped-decorator]
        def matcher(context: Any) -> dict[str, Any]:
            return self.complete(context)

        self.matcher = matcher

    def complete(self, context: Any) -> dict[str, Any]:
        """What may stand at the cursor: IPython's SimpleMatcherResult. Silent where it is not our line."""
        from IPython.core.completer import SimpleCompletion

        words = words_before_cursor(context.full_text, context.cursor_line, context.text_until_cursor)
        if words is None:
            return {"completions": [], "suppress": False}
        *before, fragment = words
        found = sorted({word for word in self.candidates(before) if word.startswith(fragment)})
        return {
            "completions": [SimpleCompletion(word, type="docker") for word in found],
            "matched_fragment": fragment,
            "suppress": bool(found),
            "ordered": True,
        }

    def candidates(self, before: list[str]) -> Iterable[str]:
        """The words that may follow `before`, a command line without `docker`."""
        if before[:1] in (["%layers"], ["%ports"], ["%logs"]):
            return [*self._containers(), *(self._images() if before[0] == "%layers" else [])]
        if before[:1] == ["%check"]:
            return _checks()
        if not before:
            return [*COMMANDS, *GROUPS]
        if before[0] in GROUPS and len(before) == 1:
            return GROUPS[before[0]].commands
        command = _command(before)
        if command is None:
            return []
        names = [f"--{flag.name}" for flag in command.flags]
        # A synopsis says what a command takes: [OPTIONS] CONTAINER [CONTAINER...], NAME[:TAG], NAME|ID.
        if re.search(r"CONTAINER|NAME\|ID", command.synopsis) and before[0] != "image":
            names += self._containers()
        if re.search(r"IMAGE|NAME(\[:TAG|\|ID)", command.synopsis) and not (
            before[0] == "container" and "CONTAINER" in command.synopsis
        ):
            names += self._images()
        return names

    def _images(self) -> list[str]:
        return self._asked(local_names)

    def _containers(self) -> list[str]:
        return self._asked(container_names)

    def _asked(self, names: Any) -> list[str]:
        try:
            client = self.choice.client()
        except Exception:  # completion says nothing rather than fail while someone types
            return []
        try:
            return list(names(client))
        finally:
            client.close()


def _checks() -> list[str]:
    """The names of this exercise's checks."""
    try:
        return [check.name for check in find_exercise().checks]
    except Exception:  # completion says nothing rather than fail while someone types
        return []


def _command(before: list[str]) -> Command | None:
    try:
        return parse([*before[: 2 if before[0] in GROUPS else 1], "--help"]).command
    except Exception:  # an unknown command has nothing to complete
        return None


def words_before_cursor(text: str, line_number: int, line: str) -> list[str] | None:
    """The words of the docker command up to the cursor, the last one unfinished ("" after a space).

    None where the cursor is not in a line of ours: in a cell of %%docker every line is one, elsewhere only
    the magic's own.
    """
    match = _MAGIC.fullmatch(line)
    if match:
        magic, rest = match[2], match[3]
    else:
        first = _MAGIC.match(text.partition("\n")[0] + " ")
        if not first or first[1] != "%" or first[2] != "docker" or line_number == 0:
            return None
        magic, rest = "docker", line.lstrip()
    words = rest.split()
    if not rest or rest[-1].isspace():
        words.append("")
    if magic == "docker" and words[0] == "docker" and len(words) > 1:
        words = words[1:]
    before = {
        "docker": [],
        "dockerfile": ["build"],
        "layers": ["%layers"],
        "ports": ["%ports"],
        "logs": ["%logs"],
        "check": ["%check"],
    }
    return [*before.get(magic, [magic]), *words]
