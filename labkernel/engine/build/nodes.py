"""What the parser makes of a Dockerfile: one Node for each instruction, as it is written."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from labkernel.engine.build.errors import DockerfileError


@dataclass(frozen=True)
class Heredoc:
    """`<<NAME`: lines up to NAME. `expand` is false for a quoted NAME, `chomp` is true for `<<-`."""

    name: str
    content: str
    expand: bool = True
    chomp: bool = False
    file_descriptor: int = 0

    @property
    def text(self) -> str:
        """The content as it is meant: without leading tabs for `<<-`."""
        return re.sub(r"(?m)^\t+", "", self.content) if self.chomp else self.content


@dataclass(frozen=True)
class Node:
    """One instruction, nothing expanded.

    `keyword` keeps its case; `arguments` are the words (names and values in turn for ENV and LABEL);
    `original` is the logical line with continuations joined. `trigger` is the instruction inside an ONBUILD.
    Lines and the keyword's column count from 1.
    """

    keyword: str
    arguments: tuple[str, ...]
    original: str
    is_json: bool = False
    flags: tuple[str, ...] = ()
    trigger: Node | None = None
    heredocs: tuple[Heredoc, ...] = ()
    line: int = 1
    end_line: int = 1
    column: int = 1

    @property
    def name(self) -> str:
        """The instruction's name in capitals."""
        return self.keyword.upper()


@dataclass(frozen=True)
class Dockerfile:
    nodes: tuple[Node, ...]
    escape: str
    syntax: str | None
    warnings: tuple[str, ...]
    source: tuple[str, ...] = field(repr=False)  # its lines, for excerpts

    def error(
        self, node: Node, message: str, *, advice: str | None = None, mark: str | None = None
    ) -> DockerfileError:
        """An error at the node; `mark` is the text to underline, the keyword unless given."""
        for text in (mark, node.keyword):
            for number in range(node.line, min(node.end_line, len(self.source)) + 1):
                found = self.source[number - 1].find(text) if text else -1
                if text and found >= 0:
                    return DockerfileError(
                        message,
                        line=node.line,
                        end_line=node.end_line,
                        marked_line=number,
                        column=found + 1,
                        width=len(text),
                        source=self.source,
                        advice=advice,
                    )
        return DockerfileError(
            message, line=node.line, end_line=node.end_line, source=self.source, advice=advice
        )
