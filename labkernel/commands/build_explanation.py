"""Why the steps of a build were run again, and which bytes its layers waste, in words.

The engine sends both as `aux` records when it is asked to; another engine sends none, and nothing is said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkernel.commands.units import human_size

_STEP, _WASTE = "labkernel.explanation", "labkernel.waste"
_SHOWN = 60
"""Characters of an instruction that a line shows."""
_WORTH_SAYING = 1000
"""Bytes of waste below which nothing is said."""

_INSTALLS = (
    ("requirements.txt", r"\bpip3? install\b.*(-r|--requirement)\b"),
    ("package.json and its lock file", r"\b(npm (ci|install)|yarn|pnpm)\b"),
    ("go.mod and go.sum", r"\bgo (mod download|install|get|build)\b"),
    ("Cargo.toml and Cargo.lock", r"\bcargo (fetch|build)\b"),
    ("Gemfile and Gemfile.lock", r"\bbundle install\b"),
)

_SAVING = {
    "deleted": "delete it in the RUN that makes it: a later step hides a file and leaves its bytes",
    "overwritten": "write it once: a later step's file is stored beside this one",
    "apt-lists": "end that RUN with: && rm -rf /var/lib/apt/lists/*",
    "apt-cache": "end that RUN with: && apt-get clean && rm -rf /var/cache/apt/*",
    "pip-cache": "pip install --no-cache-dir keeps no copies",
    "apk-cache": "apk add --no-cache keeps no lists",
    "dnf-cache": "end that RUN with: && dnf clean all",
    "npm-cache": "end that RUN with: && npm cache clean --force",
    "go-cache": "build in a stage of its own and COPY --from it, or end that RUN with: && go clean -cache",
}
_LEFT = {
    "apt-lists": "package lists",
    "apt-cache": "downloaded packages",
    "pip-cache": "pip's cache",
    "apk-cache": "package lists",
    "dnf-cache": "downloaded packages",
    "npm-cache": "npm's cache",
    "go-cache": "Go's build cache",
}


@dataclass(frozen=True)
class ExplainedStep:
    """`cause` is None for a step from the cache, and for a FROM whose image is the same."""

    number: int
    instruction: str
    cached: bool
    cause: Mapping[str, Any] | None = None

    @property
    def is_from(self) -> bool:
        return self.instruction[:5].upper().startswith("FROM")


@dataclass
class Explanation:
    """What an engine says of a build's steps. False while it has said nothing."""

    steps: list[ExplainedStep] = field(default_factory=list)
    waste: list[Mapping[str, Any]] = field(default_factory=list)

    def add(self, aux: Mapping[str, Any]) -> None:
        """Take an `aux` object of the stream; others than ours are passed over."""
        if step := aux.get(_STEP):
            self.steps.append(
                ExplainedStep(step["step"], step["instruction"], step["cached"], step.get("cause"))
            )
        self.waste += [waste for waste in aux.get(_WASTE) or () if waste["size"] >= _WORTH_SAYING]

    def __bool__(self) -> bool:
        return bool(self.steps)

    @property
    def run_again(self) -> list[ExplainedStep]:
        return [step for step in self.steps if not step.cached and (step.cause or not step.is_from)]

    @property
    def is_first(self) -> bool:
        """Whether nothing was built before: then there is no "again"."""
        return any(step.cause and step.cause["kind"] == "first" for step in self.steps)

    @property
    def summary(self) -> str:
        """One line: how much came from the cache, and what was run again first, with its cause."""
        cached = sum(step.cached for step in self.steps)
        said = f"{cached} of {len(self.steps)} steps from the cache"
        first = next((step for step in self.run_again if not step.is_from), None)
        if self.is_first:
            return f"{said}; this was not built before"
        if first is None or first.cause is None:
            return said
        return (
            f"{said}; first run again: step {first.number} {_short(first.instruction)} {reason(first.cause)}"
        )

    @property
    def hint(self) -> str | None:
        """How the next build gets more from the cache, where that is known."""
        for index, step in enumerate(self.steps):
            kind = step.cause["kind"] if step.cause else ""
            if kind == "files" and step.instruction[:4].upper() == "COPY":
                return self._copy_hint(index)
            if kind == "no-cache":
                return "without --no-cache what did not change is taken from the cache"
            if kind == "argument" and any(not s.cached for s in self.steps[index + 1 :]):
                return "an ARG counts from its line on: declare it just before the step that needs it"
        return None

    def _copy_hint(self, index: int) -> str | None:
        words = [word for word in self.steps[index].instruction.split()[1:] if not word.startswith("--")]
        if not any(word.rstrip("/") in (".", "*") for word in words[:-1]):
            return None
        for step in self.steps[index + 1 :]:
            if step.is_from:
                return None
            for files, pattern in _INSTALLS:
                if re.search(pattern, step.instruction):
                    return (
                        f"COPY {files} first, then the install (step {step.number}), then the rest: "
                        "the install is then run again only when those change"
                    )
        return None

    @property
    def lines(self) -> list[str]:
        """A line for each step that was run again. In a first build every step is run: there are none."""
        if self.is_first:
            return []
        return [
            f"step {step.number} {_short(step.instruction)}: {reason(step.cause)}"
            for step in self.run_again
            if step.cause
        ]

    @property
    def waste_lines(self) -> list[str]:
        """A line for each of the wasted bytes, with how to save them."""
        return [waste_line(waste) for waste in self.waste]

    @property
    def text(self) -> str:
        """All of it; "" where nothing was said."""
        if not self:
            return ""
        hint = [f"hint: {self.hint}"] if self.hint else []
        return "\n".join([self.summary, *(f"  {line}" for line in self.lines), *hint, *self.waste_lines])


def reason(cause: Mapping[str, Any]) -> str:
    """A cause in words that go on from "was run again"."""
    kind = cause["kind"]
    if kind == "parent":
        number, root = cause["step"], cause["root"]
        because = f", which goes back to step {root}" if root != number else ""
        return f"because step {number} was run again{because}"
    if kind == "parent-differs":
        return f"because step {cause['step']} is not what it was: {reason(cause['because'])}"
    if kind == "files":
        return f"because {_files(cause)}{_made_by(cause)}"
    if kind == "content":
        what = {"url": "what the URL gives", "stage": "what it takes from the other stage"}
        return f"because {what.get(cause['source'], 'what it takes')} changed{_made_by(cause)}"
    if kind == "text":
        where = "its here-document" if cause.get("heredoc") else "the line"
        return f"because {where} changed: {_short(cause['old'])} -> {_short(cause['new'])}"
    if kind == "argument":
        return f"because {' and '.join(_argument(argument) for argument in cause['arguments'])}"
    if kind == "step-removed":
        shown = ", ".join(_short(text) for text in cause["instructions"])
        return f"because the step before it was removed: {shown}"
    if kind == "base":
        change = f"({_short_id(cause['old'])} -> {_short_id(cause['new'])})"
        because = f", {reason(cause['because'])}" if "because" in cause else ""
        return f"because the base image of step {cause['step']} is another {change}{because}"
    return _PLAIN.get(kind, _PLAIN["unknown"])


_PLAIN = {
    "first": "because it was never built before",
    "added": "because this line is new",
    "moved": "because this line was moved",
    "no-cache": "because --no-cache turns the cache off",
    "cache-from": "because the images of --cache-from do not hold it",
    "image-removed": "because the image of this step was removed",
    "unfinished": "because the build before ended before this step was done",
    "unknown": "because the cache had no image of it",
}


def _made_by(cause: Mapping[str, Any]) -> str:
    return f" (step {cause['root']} was run again)" if cause.get("root") else ""


def _argument(argument: Mapping[str, Any]) -> str:
    if argument.get("secret"):
        return f"build argument {argument['name']} changed (not shown)"
    old, new = argument["old"], argument["new"]
    if old is None or new is None:
        return f"build argument {argument['name']} was {'added' if old is None else 'removed'} ({new or old})"
    return f"build argument {argument['name']} changed ({_short(old)} -> {_short(new)})"


def _files(cause: Mapping[str, Any]) -> str:
    """ "app.py changed (1.2kB -> 1.3kB) and 3 more"."""
    told = [
        *(_changed(file) for file in cause.get("changed", ())),
        *(_attributes(file) for file in cause.get("attributes", ())),
        *(f"{f['path']} was added ({human_size(f['size'])})" for f in cause.get("added", ())),
        *(
            f"{f['path']} " + ("is excluded by .dockerignore" if f.get("ignored") else "was removed")
            for f in cause.get("removed", ())
        ),
    ]
    total = sum(cause["count"].values())
    if not told:
        return "the names or the order of its files changed"
    more = f", and {total - 2} more" if total > 2 else ""
    return ", ".join(told[:2]) + more


def _changed(file: Mapping[str, Any]) -> str:
    sizes = human_size(file["old_size"]), human_size(file["new_size"])
    hashes = f"{file['old_hash'][:8]} -> {file['new_hash'][:8]}"
    change = f"{sizes[0]} -> {sizes[1]}" if sizes[0] != sizes[1] else f"{sizes[0]}, {hashes}"
    return f"{file['path']} changed ({change})"


def _attributes(file: Mapping[str, Any]) -> str:
    said = []
    if "old_mode" in file:
        said.append(f"the mode of {file['path']} changed ({file['old_mode']} -> {file['new_mode']})")
    if "old_owner" in file:
        said.append(f"the owner of {file['path']} changed ({file['old_owner']} -> {file['new_owner']})")
    return " and ".join(said)


def waste_line(waste: Mapping[str, Any], *, with_step: bool = True) -> str:
    """What is wasted, and how to save it."""
    paths: Sequence[str] = waste["paths"]
    more = waste["count"] - 1
    what = paths[0] + (f" and {more} more" if more else "")
    how = _LEFT.get(waste["kind"]) or f"{waste['kind']} by step {waste.get('by')}"
    saving = _SAVING.get(waste["kind"], "")
    said = f"wastes {human_size(waste['size'])}: {what} ({how}); {saving}"
    return f"step {waste['step']} {said}" if with_step else said


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _short_id(image: str) -> str:
    return image.removeprefix("sha256:")[:12] or "scratch"
