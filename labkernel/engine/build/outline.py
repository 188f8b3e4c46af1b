"""What an explained build says of its Dockerfile at once: the lines of its steps, and what looks wrong. Pure.

Warnings are the parser's, and a few slips that are no error: the build goes well, and does not do what was
meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from labkernel.engine.build.instructions import Instruction, OptionLabel
from labkernel.engine.build.nodes import Node
from labkernel.engine.build.plan import Plan

OUTLINE = "labkernel.outline"
"""The name below `aux`."""

_PARSERS = re.compile(r"\[WARNING\]: (Empty continuation line) found in:\s*(.*)", re.DOTALL)


def outline(plan: Plan) -> dict[str, Any]:
    """`{"steps": [[2, 3], ...], "warnings": [{"line": 3, "message": "..."}]}`: the first and last line of
    every step, from step 1 on (None for one that is not in the file), and warnings by line."""
    steps: list[Instruction] = [*plan.globals]
    for index in plan.needed:
        steps += [plan.stages[index].start, *plan.stages[index].instructions]
    lines = [
        None if isinstance(step, OptionLabel) else [step.node.line, step.node.end_line] for step in steps
    ]
    return {"steps": lines, "warnings": sorted(_warnings(plan), key=lambda warning: warning["line"])}


def _warnings(plan: Plan) -> Iterator[dict[str, Any]]:
    nodes = plan.dockerfile.nodes
    for warning in plan.dockerfile.warnings:
        found = _PARSERS.match(warning)
        node = next((n for n in nodes if found and n.original.strip() == found[2].strip()), None)
        if found and node:
            blank = _empty_line(plan, node)
            yield _warning(blank, f"{found[1]}: it will become an error in a future release of Docker")
    global_names = {name for arg in plan.globals for name, _ in arg.arguments}
    for stage in plan.stages:
        declared: set[str] = set()
        for step in stage.instructions:
            if isinstance(step, OptionLabel):
                continue
            node = step.node
            text = node.original.strip()
            if node.name in ("ARG", "ENV"):
                declared |= {word.partition("=")[0] for word in node.arguments}
            unseen = (set(re.findall(r"\$\{?([A-Za-z_]\w*)", text)) & global_names) - declared
            yield from (
                _warning(
                    node.line,
                    f"ARG {name} stands before FROM, where only FROM lines see it: it is empty here; "
                    f"write ARG {name} once more below FROM",
                )
                for name in sorted(unseen)
                if f"{name}=" not in text  # the shell's own
            )
            if message := _slip(node, text):
                yield _warning(node.line, message)


def _slip(node: Node, text: str) -> str | None:
    if node.name in ("CMD", "ENTRYPOINT", "RUN") and re.match(r"\w+\s+\[\s*'", text):
        return (
            "this looks like a list of words, but JSON wants double quotes: as it stands, the shell gets the "
            "brackets too"
        )
    if found := re.fullmatch(r"RUN\s+cd\s+([^\s&|;]+)", text, re.IGNORECASE):
        return f"this cd ends with its own RUN: WORKDIR {found[1]} is kept for what follows"
    if found := re.fullmatch(r"RUN\s+export\s+(\w+=\S+)", text, re.IGNORECASE):
        return f"this export ends with its own RUN: ENV {found[1]} is kept for what follows"
    return None


def _empty_line(plan: Plan, node: Node) -> int:
    source = plan.dockerfile.source
    lines = range(node.line, min(node.end_line, len(source)) + 1)
    return next((number for number in lines if not source[number - 1].strip()), node.line)


def _warning(line: int, message: str) -> dict[str, Any]:
    return {"line": line, "message": message}
