"""What a build's error says beside Docker's own message: its place in the Dockerfile, and advice."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from labkernel.engine.build.advice.advise import advise
from labkernel.engine.build.advice.situation import ContextFile, Earlier, Situation
from labkernel.engine.build.context import BuildContext
from labkernel.engine.build.failure import FAILURE, last_lines, marked, meaning, shortened
from labkernel.engine.build.interface import BuildOptions, RunFailed
from labkernel.engine.build.nodes import Node
from labkernel.engine.build.plan import Plan, Stage
from labkernel.engine.build.sources import Found, walk
from labkernel.engine.errors import EngineError
from labkernel.engine.image.tarformat import REGULAR

_LONGEST = 20_000
"""Characters of an instruction that rules look at."""
_HEAD = 256
"""Bytes of a file that a rule may look at."""


@dataclass
class Lesson:
    """What a build is known to be by the time it fails; `plan` is None until the Dockerfile was read."""

    context: BuildContext
    options: BuildOptions
    plan: Plan | None = None

    def context_file(self, name: str) -> ContextFile | None:
        found = self._files.get(name)
        if found is None:
            return None
        head = self.context.read_at(found, 0, _HEAD)
        return ContextFile(found.path, found.file.mode & 0o7777, head)

    def _top(self) -> Found | None:
        try:
            return self.context.find("")
        except EngineError:  # the context of a Dockerfile's address has no files
            return None

    def context_names(self) -> list[str]:
        """What is at the context's top, but for what clients put there for the engine."""
        top = self._top()
        names = [found.path for found in self.context.children(top)] if top else []
        return [name for name in names if not name.startswith(".docker")]

    @cached_property
    def _files(self) -> Mapping[str, Found]:
        """The context's files by the last part of their names."""
        top = self._top()
        files = walk(self.context, top) if top else ()
        return {posixpath.basename(f.path): f for f in files if f.file.type == REGULAR}


@contextmanager
def teaching(context: BuildContext, options: BuildOptions) -> Iterator[Lesson]:
    """The errors of the build inside know their place and, where there is advice, what to do."""
    lesson = Lesson(context, options)
    try:
        yield lesson
    except EngineError as error:
        _teach(error, lesson)
        raise


def _teach(error: EngineError, lesson: Lesson) -> None:
    failure: dict[str, Any] = dict(error.details.get(FAILURE) or {})
    situation = _situation(error, failure, lesson)
    said = advise(situation)
    if said:
        error.hint = said.text or error.hint
        marked(failure, said.mark)
    shortened(failure)
    if situation.name:
        failure["instruction"] = situation.name
    if failure and lesson.plan and not _is_of_file(lesson.plan, failure):
        failure["isTrigger"] = True
    if isinstance(error, RunFailed):
        failure["exitCode"] = error.code
        if what := meaning(error.code):
            failure["meaning"] = what
        failure["output"] = last_lines(error.output)
    if failure:
        error.details[FAILURE] = failure


def _situation(error: EngineError, failure: Mapping[str, Any], lesson: Lesson) -> Situation:
    plan = lesson.plan
    line = failure.get("line", 0)
    texts = {entry["number"]: entry["text"] for entry in failure.get("lines", ())}
    stage, node = _node(plan, line, texts.get(line, ""))
    text = _as_written(node) if node else texts.get(line, "").strip()
    return Situation(
        message=error.message,
        hint=error.hint or "",
        name=node.name if node else text.partition(" ")[0].upper(),
        text=text,
        code=error.code if isinstance(error, RunFailed) else None,
        output=error.output if isinstance(error, RunFailed) else "",
        base=stage.base if stage else "",
        network=lesson.options.host_config.get("NetworkMode") or "",
        earlier=_earlier(stage, line),
        globals=[name for arg in plan.globals for name, _ in arg.arguments] if plan else (),
        line=line,
        line_before=texts.get(line - 1, ""),
        context_file=lesson.context_file,
        context_names=lesson.context_names(),
        memory=lesson.options.host_config.get("Memory") or 0,
    )


def _node(plan: Plan | None, line: int, text: str) -> tuple[Stage | None, Node | None]:
    """The instruction at a line; none for that of a trigger, whose text is not the file's."""
    for stage in plan.stages if plan and _has_line(plan, line, text) else ():
        for step in (stage.start, *stage.instructions):
            if step.node.line <= line <= step.node.end_line:
                return stage, step.node
    return None, None


def _is_of_file(plan: Plan, failure: Mapping[str, Any]) -> bool:
    """Whether a failure's lines are the Dockerfile's; those of an ONBUILD trigger are the base image's."""
    return all(_has_line(plan, entry["number"], entry["text"]) for entry in failure.get("lines", ()))


def _has_line(plan: Plan, line: int, text: str) -> bool:
    source = plan.dockerfile.source
    return 1 <= line <= len(source) and source[line - 1].startswith(text)


def _earlier(stage: Stage | None, line: int) -> list[Earlier]:
    if stage is None:
        return []
    nodes = [step.node for step in stage.instructions]
    return [Earlier(node.line, node.name, _as_written(node)) for node in nodes if node.end_line < line]


def _as_written(node: Node) -> str:
    """The instruction with its here-documents."""
    return (node.original.strip() + "".join(f"\n{heredoc.content}" for heredoc in node.heredocs))[:_LONGEST]
