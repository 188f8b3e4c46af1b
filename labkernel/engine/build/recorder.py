"""Follows a build step by step, so that afterwards it can be compared with the one before."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from labkernel.engine.build.container_config import ConfigState
from labkernel.engine.build.context import BuildContext
from labkernel.engine.build.copying import Source, combined_key
from labkernel.engine.build.download import is_url
from labkernel.engine.build.explanation import (
    Cause,
    CopiedFile,
    Files,
    Knowledge,
    StepRecord,
    explain,
    is_secret,
)
from labkernel.engine.build.git import is_git_source
from labkernel.engine.build.instructions import Copy, Instruction, Run
from labkernel.engine.build.interface import BuildOptions
from labkernel.engine.build.plan import Plan, Stage
from labkernel.engine.build.records import KEPT_FILES, BuildRecords
from labkernel.engine.build.run_options import RunMount
from labkernel.engine.build.sources import Found, SourceTree, metadata_hash, walk
from labkernel.engine.image.images import Image, Images
from labkernel.engine.image.reference import parse_reference
from labkernel.engine.image.tarformat import DIRECTORY, REGULAR

EXPLANATION = "labkernel.explanation"
"""The name below `aux` of what is said of a step. Clients that did not ask are never sent any."""


@dataclass
class Recorder:
    """The record of one build. Stages may be built side by side: a step is changed by its number only."""

    records: BuildRecords
    images: Images
    options: BuildOptions
    plan: Plan
    context: BuildContext
    steps: list[StepRecord] = field(default_factory=list)
    files: dict[str, Files] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._name = None
        if self.options.tags:
            reference = parse_reference(self.options.tags[0]).with_default_tag()
            self._name = f"{reference.name}:{reference.tag} {self.options.target}"
        self._old = self.records.find(self._name, self._instructions())

    def _instructions(self) -> list[str]:
        found: list[str] = []
        for index in self.plan.needed:
            stage = self.plan.stages[index]
            found += [stage.start.code, *(step.code for step in stage.instructions)]
        return found

    # --- while it goes on

    def base(self, stage: Stage, number: int, image: Image | None, earlier: Stage | None) -> None:
        """FROM was found. `earlier` is the stage that it names."""
        code = stage.start.code
        self.steps.append(
            StepRecord(
                number=number,
                stage=stage.index,
                code=code,
                text=code,
                image=image.id if image else "",
                arguments=_named(code, self.plan.arguments.global_values()),
                base_stage=-1 if earlier is None else earlier.index,
            )
        )

    def begin(
        self, stage: int, number: int, step: Instruction, parent: Image | None, state: ConfigState
    ) -> int:
        """A step begins; gives the handle to tell more of it. `step` is not yet expanded."""
        arguments = {
            name: value
            for name, value in state.arguments.values().items()
            if state.arguments.is_recorded(name)
        }
        record = StepRecord(
            number=number,
            stage=stage,
            code=step.code,
            text=_text(step),
            parent=parent.id if parent else "",
            arguments=_hidden(arguments) if isinstance(step, Run) else _named(step.code, arguments),
        )
        if isinstance(step, Copy):
            from_stage = self.plan.stage(step.stage, stage) if step.stage else None
            record = replace(
                record,
                source=_kind(step, from_stage),
                copied_stage=-1 if from_stage is None else from_stage.index,
            )
        self.steps.append(record)
        return len(self.steps) - 1

    def copying(self, handle: int, key: str, sources: Sequence[Source]) -> None:
        """What a step copies, and the cache key of it. Known files are not looked at again."""
        self.steps[handle] = replace(self.steps[handle], files=key)
        self._keep(key, _copied(sources))

    def binding(self, handle: int, mounts: Sequence[tuple[RunMount, Source]]) -> None:
        """What a RUN is shown of trees by its mounts. Where it is shown several, a file of another than the
        context is told with the name of that; the files of an image are not looked at: it changes as a
        whole."""
        if not mounts:
            return
        record = self.steps[handle]
        names = {mount.stage for mount, _ in mounts}
        stages = {name: self.plan.stage(name, record.stage) for name in names if name}
        source, copied_stage = "several", -1
        if len(names) == 1:
            only = next(iter(stages.values()), None)
            source = "context" if not stages else "image" if only is None else "stage"
            copied_stage = -1 if only is None else only.index
        key = "mount:" + combined_key([shown for _, shown in mounts]) + " ".join(sorted(names))
        self.steps[handle] = replace(record, files=key, source=source, copied_stage=copied_stage)
        if all(stages.values()):
            self._keep(
                key,
                (
                    (f"{mount.stage}:{path}" if mount.stage and len(names) > 1 else path, file)
                    for mount, shown in mounts
                    for path, file in _copied([shown])
                ),
            )

    def _keep(self, key: str, found: Iterable[tuple[str, CopiedFile]]) -> None:
        if key in self.files or (self._old is not None and key in self._old.keys):
            return
        files: dict[str, CopiedFile] = {}
        for path, file in found:
            if len(files) >= KEPT_FILES:
                return
            files[path] = file
        self.files[key] = files

    def looked_up(self, handle: int, command: Sequence[str], *, cached: bool, held_back: bool) -> None:
        """The cache was asked. `held_back`: it has the image, and --cache-from does not name it."""
        self.steps[handle] = replace(
            self.steps[handle],
            command=hashlib.sha256(json.dumps(list(command)).encode()).hexdigest(),
            cached=cached,
            no_cache=self.options.no_cache,
            not_in_cache_from=held_back,
        )

    def end(self, handle: int, image: Image | None) -> None:
        self.steps[handle] = replace(self.steps[handle], image=image.id if image else "")

    # --- afterwards

    def finish(self) -> list[dict[str, Any]]:
        """Keep the record; the messages that say why what was run again was, if that was asked for."""
        messages: list[dict[str, Any]] = []
        self.steps.sort(key=lambda step: (step.stage, step.number))
        if self.options.explain:
            for step, cause in zip(self.steps, self._causes(), strict=True):
                said: dict[str, Any] = {
                    "step": step.number,
                    "instruction": step.code,
                    "cached": step.cached,
                }
                if cause:
                    said["cause"] = cause
                messages.append({"aux": {EXPLANATION: said}})
        # On a full disk the build's own outcome is what counts.
        with suppress(sqlite3.OperationalError):
            self.records.save(self._name, [*self.steps, *self._not_reached()], self.files, self._old)
        return messages

    def _not_reached(self) -> list[StepRecord]:
        """What a build that failed did not come to."""
        reached = {(step.stage, step.number) for step in self.steps}
        number = len(self.plan.globals)
        found: list[StepRecord] = []
        for index in self.plan.needed:
            stage = self.plan.stages[index]
            for step in (stage.start, *stage.instructions):
                number += 1
                if (index, number) not in reached:
                    found.append(StepRecord(number, index, step.code, _text(step)))
        return found

    def _causes(self) -> list[Cause | None]:
        old = self._old

        def old_files(key: str) -> Files | None:
            return self.records.files(old, key) if old else None

        know = Knowledge(
            old_files=old_files,
            new_files=lambda key: self.files.get(key) or old_files(key),
            exists=self.images.has,
            same_content=self._same_content,
        )
        causes = explain(old.steps if old else None, self.steps, know)
        for cause in causes:
            if cause and cause.get("source") == "context":
                for entry in cause.get("removed", ()):
                    if self.context.ignore.excludes(entry["path"]):
                        entry["ignored"] = True
        return causes

    def _same_content(self, path: str, old: CopiedFile) -> bool:
        """Whether a file of the context would have the old digest with the old mode and owner."""
        found = self.context.find(path)
        if found is None or found.file.type != REGULAR or found.path != path:
            return False
        file = replace(found.file, mode=old.mode, uid=old.uid, gid=old.gid)
        digest = metadata_hash(path, file)
        for offset in range(0, file.size, 1 << 20):
            digest.update(self.context.read_at(found, offset, 1 << 20))
        same: bool = digest.hexdigest() == old.digest
        return same


class Remembering:
    """A tree that reads a file for its digest once only."""

    def __init__(self, tree: SourceTree) -> None:
        self._tree = tree
        self._digests: dict[str, str] = {}
        self.find, self.children = tree.find, tree.children
        self.copy_content, self.read_at = tree.copy_content, tree.read_at

    def digest(self, found: Found) -> str:
        if found.path not in self._digests:
            self._digests[found.path] = self._tree.digest(found)
        return self._digests[found.path]


def _text(step: Instruction) -> str:
    return step.code + "".join(f"\n{heredoc.content}" for heredoc in step.node.heredocs)


def _copied(sources: Sequence[Source]) -> Iterator[tuple[str, CopiedFile]]:
    for source in sources:
        if source.found.file.type != DIRECTORY:
            yield source.found.path, _file(source.found, source.key.removeprefix("file:"))
            continue
        for found in walk(source.tree, source.found):
            yield found.path, _file(found, source.tree.digest(found))


def _file(found: Found, digest: str) -> CopiedFile:
    file = found.file
    return CopiedFile(digest, file.size, file.mode, file.uid, file.gid, file.type.decode("latin-1"))


def _kind(step: Copy, from_stage: Stage | None) -> str:
    if step.stage:
        return "image" if from_stage is None else "stage"
    is_fetched = step.sources and all(is_url(word) or is_git_source(word) for word in step.sources)
    return "url" if is_fetched else "context"


def _named(code: str, arguments: dict[str, str]) -> dict[str, str]:
    """The arguments that a line names."""
    names = set(re.findall(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)", code))
    return _hidden({name: value for name, value in arguments.items() if name in names})


def _hidden(arguments: dict[str, str]) -> dict[str, str]:
    """Arguments as they are kept: a secret as a hash."""
    return {
        name: hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()
        if is_secret(name)
        else value
        for name, value in arguments.items()
    }
