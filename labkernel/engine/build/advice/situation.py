"""What is known when a build fails, and what a rule may say of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True)
class Earlier:
    """An instruction of the same stage that was done before. `text` is as written, continuations joined."""

    line: int
    name: str
    text: str


@dataclass(frozen=True)
class ContextFile:
    """A file of the build context: its path, its permission bits, and how it begins."""

    path: str
    mode: int
    head: bytes


def _no_file(name: str) -> ContextFile | None:
    return None


@dataclass(frozen=True)
class Situation:
    """A failure. `hint` is what its error advises already, `text` the failing instruction as written,
    continuations joined, `name` its keyword.

    `code` is the exit code of a RUN, `output` the last of what it printed. `globals` are the names of ARGs
    before the first FROM. `line_before` is the line of the file above the failing one. `context_file` finds
    a file of the context by the last part of its name, `context_names` are those at its top. `memory` is the
    limit in bytes, 0 for none.
    """

    message: str
    hint: str = ""
    name: str = ""
    text: str = ""
    code: int | None = None
    output: str = ""
    base: str = ""
    network: str = ""
    earlier: Sequence[Earlier] = ()
    globals: Sequence[str] = ()
    line: int = 0
    line_before: str = ""
    context_file: Callable[[str], ContextFile | None] = _no_file
    context_names: Sequence[str] = ()
    memory: int = 0

    @property
    def command(self) -> str:
        """The words behind the instruction's name."""
        return self.text.partition(" ")[2].strip()

    def earlier_run(self, pattern: str) -> Earlier | None:
        """The last RUN before it whose text has the pattern."""
        found = [step for step in self.earlier if step.name == "RUN" and re.search(pattern, step.text)]
        return found[-1] if found else None

    @property
    def user(self) -> Earlier | None:
        """The USER that the step runs as; None for root, as far as the stage itself says."""
        users = [step for step in self.earlier if step.name == "USER"]
        if not users or re.fullmatch(r"(?i)USER\s+(root|0)(:\S*)?", users[-1].text.strip()):
            return None
        return users[-1]


@dataclass(frozen=True)
class Advice:
    """What to do ("" leaves it at what the error advises), and the word of the instruction that it is about
    ("" for none)."""

    text: str
    mark: str = ""


Give = Callable[[Situation, "re.Match[str]"], Advice | str | None]


@dataclass(frozen=True)
class Rule:
    """When `pattern` is found in the field `where`, `give` may have advice; a text is advice as it stands."""

    where: str
    pattern: str
    give: Give | str

    def apply(self, situation: Situation) -> Advice | None:
        found = re.search(self.pattern, getattr(situation, self.where), re.MULTILINE)
        if found is None:
            return None
        said = self.give if isinstance(self.give, str) else self.give(situation, found)
        return Advice(said) if isinstance(said, str) else said


def near(word: str, known: Sequence[str]) -> str | None:
    """The known word that `word` is a slip of, if there is one."""
    if word in known:
        return None
    letters = sorted(word.lower())
    exchanged = [name for name in known if sorted(name) == letters]
    found = exchanged or get_close_matches(word.lower(), known, n=1, cutoff=0.75)
    return found[0] if found else None
