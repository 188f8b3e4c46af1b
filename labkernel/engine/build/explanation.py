"""Why steps of a build were run again: two builds of one thing compared. Pure, no engine.

The cause given is the first one, in the order in which the cache would notice it: the step before, the base
image, the instruction's text, its build arguments, the files it copies, and only then the cache itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

SHOWN_FILES = 5
"""Files of a kind that a cause names; of the others it gives the number."""

_SECRET = re.compile(r"pass|pwd|secret|token|key|credential|auth|private", re.IGNORECASE)
_SAME_BUILD = 0.6
"""From this likeness on (0..1, of the lists of instructions) an earlier build is taken to be of the same
thing."""

Cause = dict[str, Any]


@dataclass(frozen=True)
class CopiedFile:
    """What COPY knows of a file. `digest` is over name, kind, mode, owner and content; `type` as in tar."""

    digest: str
    size: int
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    type: str = "0"


Files = Mapping[str, CopiedFile]


@dataclass(frozen=True)
class StepRecord:
    """One step of a build: what it was made from, and what became of it.

    `code` is the line as `Step n/m` shows it, `text` has the here-documents too. `parent` and `image` are
    image ids, "" for scratch and for a step that was not finished. `arguments` are those it can see, secrets
    as hashes. `files` is the key of what it copies or mounts. `base_stage` and `copied_stage` number earlier
    stages, -1 for none; `source` is "context", "stage", "image", "url" or, for mounts of a RUN, "several".
    The last three say how the build went: they are not kept.
    """

    number: int
    stage: int
    code: str
    text: str
    parent: str = ""
    image: str = ""
    command: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    files: str = ""
    source: str = ""
    base_stage: int = -1
    copied_stage: int = -1
    cached: bool = False
    no_cache: bool = False
    not_in_cache_from: bool = False

    @property
    def is_from(self) -> bool:
        return self.name == "FROM"

    @property
    def name(self) -> str:
        return self.code.split(maxsplit=1)[0].upper() if self.code.strip() else ""


def is_secret(name: str) -> bool:
    """Whether a build argument's value is better not shown."""
    return _SECRET.search(name) is not None


def likeness(old: Sequence[str], new: Sequence[str]) -> float:
    """How much two lists of instructions have in common, 0..1; 0 for too little to be the same thing. FROM
    does not count: it is the same in most."""
    old, new = ([code for code in codes if not code.upper().startswith("FROM")] for codes in (old, new))
    ratio = SequenceMatcher(None, old, new, autojunk=False).ratio() if old and new else 0.0
    return ratio if ratio >= _SAME_BUILD else 0.0


# --- which step was which


@dataclass(frozen=True)
class Alignment:
    """`old` gives the earlier build's step for a new one; `removed` the earlier steps that are no more, by
    the new step that comes after them. All are indices."""

    old: Mapping[int, int]
    removed: Mapping[int, tuple[int, ...]]


def align(old: Sequence[StepRecord], new: Sequence[StepRecord]) -> Alignment:
    """Equal lines are the same step; of lines between those, one with the same instruction is an edited one,
    and what is left was added or removed."""
    pairs: dict[int, int] = {}
    removed: dict[int, list[int]] = {}
    old_texts, new_texts = ([_folded(step.text) for step in steps] for steps in (old, new))
    for kind, i1, i2, j1, j2 in _opcodes(old_texts, new_texts):
        if kind == "equal":
            pairs.update(zip(range(j1, j2), range(i1, i2), strict=True))
        elif kind == "delete":
            removed.setdefault(j1, []).extend(range(i1, i2))
        elif kind == "replace":
            names = [step.name for step in old[i1:i2]], [step.name for step in new[j1:j2]]
            for how, a1, a2, b1, b2 in _opcodes(*names):
                if how == "equal":
                    pairs.update(zip(range(j1 + b1, j1 + b2), range(i1 + a1, i1 + a2), strict=True))
                elif how != "insert":
                    removed.setdefault(j1 + b1, []).extend(range(i1 + a1, i1 + a2))
    return Alignment(pairs, {index: tuple(gone) for index, gone in removed.items()})


def _opcodes(old: list[str], new: list[str]) -> list[tuple[str, int, int, int, int]]:
    return list(SequenceMatcher(None, old, new, autojunk=False).get_opcodes())


def _folded(text: str) -> str:
    return " ".join(text.split()) if "\n" not in text else text


# --- the causes


@dataclass(frozen=True)
class Knowledge:
    """What the comparison asks of the engine: the files behind a key (None if not kept), whether an image is
    still there, and whether a file of the new build differs from an old one in mode and owner only."""

    old_files: Callable[[str], Files | None]
    new_files: Callable[[str], Files | None]
    exists: Callable[[str], bool]
    same_content: Callable[[str, CopiedFile], bool] = lambda path, old: False


def explain(
    old: Sequence[StepRecord] | None, new: Sequence[StepRecord], know: Knowledge
) -> list[Cause | None]:
    """The cause for each of the new steps; None for one from the cache, and for a FROM whose image is the
    same. `old` is None where nothing was built before.
    """
    return _Comparison(old, new, know).causes()


class _Comparison:
    def __init__(self, old: Sequence[StepRecord] | None, new: Sequence[StepRecord], know: Knowledge) -> None:
        self.old = old or ()
        self.new = new
        self.is_first = old is None
        self.know = know
        self.alignment = align(self.old, new)

    def causes(self) -> list[Cause | None]:
        found: list[Cause | None] = []
        for index, step in enumerate(self.new):
            if step.cached:
                found.append(None)
            elif step.is_from:
                found.append(self._base(index))
            else:
                found.append(self._cause(index, found))
        return found

    def _counterpart(self, index: int) -> StepRecord | None:
        at = self.alignment.old.get(index)
        return None if at is None else self.old[at]

    def _cause(self, index: int, found: Sequence[Cause | None]) -> Cause:
        step = self.new[index]
        if step.no_cache:
            return {"kind": "no-cache"}
        before = self._before(index)
        if before is not None and self._was_run(before):
            return {"kind": "parent", "step": self.new[before].number, "root": self._root(before, found)}
        if self.is_first:
            return {"kind": "first"}
        start = self._start(index)
        if start is not None and (base := found[start]) is not None:
            return base
        if (own := self._own(index)) is not None:
            root = self._copied_root(step, found)
            return {**own, "root": root} if root and own["kind"] in ("files", "content") else own
        old = self._counterpart(index)
        assert old is not None
        if old.parent != step.parent and (earlier := self._earlier(index)) is not None:
            return earlier
        if step.not_in_cache_from:
            return {"kind": "cache-from"}
        if old.parent == step.parent and not self.know.exists(old.image):
            return {"kind": "image-removed", "image": old.image}
        return {"kind": "unknown"}

    def _base(self, index: int) -> Cause | None:
        """Why a FROM means another image than before."""
        step, old = self.new[index], self._counterpart(index)
        if old is None or step.base_stage >= 0 or step.image == old.image:
            return None
        if not old.image and _folded(old.text) == _folded(step.text):
            return None  # the build before did not find it
        cause: Cause = {"kind": "base", "step": step.number, "old": old.image, "new": step.image}
        if _folded(old.text) != _folded(step.text):
            cause["because"] = _text_cause(old, step)
        elif arguments := _argument_cause(old, step):
            cause["because"] = arguments
        return cause

    def _own(self, index: int) -> Cause | None:
        """What is other about the step itself; nothing of its parent or of the cache."""
        step, old = self.new[index], self._counterpart(index)
        if old is None:
            gone = {_folded(self.old[i].text) for some in self.alignment.removed.values() for i in some}
            return {"kind": "moved" if _folded(step.text) in gone else "added"}
        if _folded(old.text) != _folded(step.text):
            return _text_cause(old, step)
        if (gone_before := self.alignment.removed.get(index)) and old.parent != step.parent:
            return {"kind": "step-removed", "instructions": [self.old[i].code for i in gone_before]}
        if not old.image:
            return {"kind": "unfinished"}
        if old.command == step.command:
            return None
        return _argument_cause(old, step) or self._files_cause(old, step)

    def _files_cause(self, old: StepRecord, step: StepRecord) -> Cause | None:
        if old.files == step.files:
            return None
        if step.source == "url":
            return {"kind": "content", "source": "url"}
        before, after = self.know.old_files(old.files), self.know.new_files(step.files)
        if before is None or after is None:
            return {"kind": "content", "source": step.source}
        return {
            "kind": "files",
            "source": step.source,
            **compare_files(before, after, self.know.same_content),
        }

    def _earlier(self, index: int) -> Cause | None:
        """The step before that is another than last time, though the cache had it."""
        start = self._start(index)
        for at in range((start or 0) + 1, index):
            if (own := self._own(at)) is not None and own["kind"] != "unfinished":
                number = self.new[at].number
                return {"kind": "parent-differs", "step": number, "root": number, "because": own}
        gone = [self.old[i].code for i in self.alignment.removed.get(index, ())]
        return {"kind": "step-removed", "instructions": gone} if gone else None

    # --- the steps around one

    def _start(self, index: int) -> int | None:
        """The FROM of a step's stage."""
        stage = self.new[index].stage
        return next((i for i, s in enumerate(self.new) if s.stage == stage and s.is_from), None)

    def _before(self, index: int) -> int | None:
        """The step whose image this one stands on: the one before in its stage, the last of another that
        FROM names."""
        step = self.new[index]
        if index == 0 or self.new[index - 1].stage != step.stage:
            return None
        before = self.new[index - 1]
        if not before.is_from:
            return index - 1
        return self._last(before.base_stage)

    def _last(self, stage: int) -> int | None:
        if stage < 0:
            return None
        found = [i for i, s in enumerate(self.new) if s.stage == stage]
        if not found:
            return None
        last = self.new[found[-1]]
        return self._last(last.base_stage) if last.is_from else found[-1]

    def _was_run(self, index: int) -> bool:
        return not self.new[index].cached and not self.new[index].is_from

    def _root(self, index: int, found: Sequence[Cause | None]) -> int:
        cause = found[index] or {}
        root: int = cause.get("root") or self.new[index].number
        return root

    def _copied_root(self, step: StepRecord, found: Sequence[Cause | None]) -> int | None:
        """The first step run again of the stage that a step copies from."""
        last = self._last(step.copied_stage)
        return self._root(last, found) if last is not None and self._was_run(last) else None


def _text_cause(old: StepRecord, step: StepRecord) -> Cause:
    if old.code != step.code:
        return {"kind": "text", "old": old.code, "new": step.code}
    # The lines are the same: the difference is in a here-document.
    lines = old.text.splitlines(), step.text.splitlines()
    at = next((i for i, (a, b) in enumerate(zip(*lines, strict=False)) if a != b), min(map(len, lines)))
    shown = [some[at] if at < len(some) else "" for some in lines]
    return {"kind": "text", "old": shown[0], "new": shown[1], "heredoc": True}


def _argument_cause(old: StepRecord, step: StepRecord) -> Cause | None:
    changed: list[dict[str, Any]] = []
    for name in sorted({*old.arguments, *step.arguments}):
        before, after = old.arguments.get(name), step.arguments.get(name)
        if before != after:
            values = {"secret": True} if is_secret(name) else {"old": before, "new": after}
            changed.append({"name": name, **values})
    return {"kind": "argument", "arguments": changed} if changed else None


def compare_files(
    old: Files, new: Files, same_content: Callable[[str, CopiedFile], bool] = lambda path, old: False
) -> Cause:
    """What changed between two sets of files: for "changed", "added", "removed" and "attributes" (mode or
    owner alone) the first few and their number in all."""
    found: dict[str, list[dict[str, Any]]] = {"changed": [], "attributes": [], "added": [], "removed": []}
    for path in sorted({*old, *new}):
        before, after = old.get(path), new.get(path)
        if before is None or after is None:
            only = after or before
            assert only is not None
            entry = {"path": path, "hash": only.digest, "size": only.size}
            found["added" if before is None else "removed"].append(entry)
        elif before.digest == after.digest:
            continue
        elif _attributes(before) != _attributes(after) and _has_content_of(path, before, after, same_content):
            found["attributes"].append(_attribute_change(path, before, after))
        else:
            sizes = {"old_size": before.size, "new_size": after.size}
            hashes = {"old_hash": before.digest, "new_hash": after.digest}
            found["changed"].append({"path": path, **hashes, **sizes})
    return {
        **{kind: some[:SHOWN_FILES] for kind, some in found.items() if some},
        "count": {kind: len(some) for kind, some in found.items()},
    }


def _has_content_of(
    path: str, before: CopiedFile, after: CopiedFile, same_content: Callable[[str, CopiedFile], bool]
) -> bool:
    if before.type != after.type or before.size != after.size:
        return False
    return before.type == "5" or same_content(path, before)


def _attributes(file: CopiedFile) -> tuple[int, int, int]:
    return file.mode, file.uid, file.gid


def _attribute_change(path: str, before: CopiedFile, after: CopiedFile) -> dict[str, Any]:
    found: dict[str, Any] = {"path": path}
    if before.mode != after.mode:
        found |= {"old_mode": f"{before.mode & 0o7777:04o}", "new_mode": f"{after.mode & 0o7777:04o}"}
    if (before.uid, before.gid) != (after.uid, after.gid):
        found |= {"old_owner": f"{before.uid}:{before.gid}", "new_owner": f"{after.uid}:{after.gid}"}
    return found
