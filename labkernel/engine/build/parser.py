"""Dockerfile text -> Nodes: parser directives, comments, continuation lines and here-documents.

Source: docs.docker.com/reference/dockerfile "Format", "Parser directives" and "Here-Documents"; where they
leave doubt, what the official parser does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from labkernel.engine.build.errors import DockerfileError
from labkernel.engine.build.expansion import WHITESPACE, ExpansionError, expand_words
from labkernel.engine.build.nodes import Dockerfile, Heredoc, Node
from labkernel.engine.build.words import LineError, node_from_line

_MAXIMUM_LINE = 65535  # bytes: the official parser's buffer
_DIRECTIVE = re.compile(r"#[\t\n\f\r ]*([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*(.+?)[\t\n\f\r ]*\Z")
_DIRECTIVES = ("escape", "syntax", "check")
_HEREDOC = re.compile(r"([0-9]*)<<(-?)([^<]*)")
_WITH_HEREDOC = ("ADD", "COPY", "RUN")


def parse(content: bytes | str) -> Dockerfile:
    """Parse a Dockerfile. Raises DockerfileError in the official parser's words.

    Bytes that are no UTF-8 are replaced: everything that comes out has to fit into JSON.
    """
    text = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
    return _Parser(text.removeprefix("\ufeff")).parse()


def parse_heredoc(word: str) -> Heredoc | None:
    """The here-document that a word opens (`<<EOF`, `<<-"EOF"`), without content; None if it opens none."""
    match = _HEREDOC.fullmatch(word)
    if match is None or not match[3]:
        return None
    number, dash, name = match.groups()
    unquoted = expand_words(name, {}, keep_unset=True)
    if len(unquoted) != 1:
        return None
    quoted = expand_words(name, {}, keep_unset=True, keep_quotes=True)
    # A quoted name means that the content is taken as it is.
    is_quoted = _quotes(unquoted[0]) != _quotes(quoted[0])
    return Heredoc(unquoted[0], "", not is_quoted, dash == "-", int(number[:18] or "0"))


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')


class _Parser:
    def __init__(self, text: str) -> None:
        self._lines: tuple[str, ...] = tuple(re.findall(r"[^\n]*\n|[^\n]+", text))
        self._taken = 0
        self._escape = "\\"
        self._directives: dict[str, str] = {}
        self._may_be_directive = True
        self._warnings: list[str] = []

    def parse(self) -> Dockerfile:
        nodes = tuple(self._nodes())
        if not nodes:
            raise self._error("file with no instructions", max(1, len(self._lines)))
        if self._warnings:
            self._warnings.append(
                "[WARNING]: Empty continuation lines will become errors in a future release."
            )
        return Dockerfile(
            nodes, self._escape, self._directives.get("syntax"), tuple(self._warnings), self._lines
        )

    def _error(self, message: str, line: int, end_line: int | None = None) -> DockerfileError:
        return DockerfileError(message, line=line, end_line=end_line, source=self._lines)

    def _take(self) -> str:
        line = self._lines[self._taken]
        self._taken += 1
        if len(line) * 4 > _MAXIMUM_LINE and len(line.encode()) > _MAXIMUM_LINE:
            raise self._error(
                f"dockerfile line greater than max allowed size of {_MAXIMUM_LINE}", self._taken
            )
        return line

    def _nodes(self) -> Iterator[Node]:
        while self._taken < len(self._lines):
            whole = self._take().rstrip("\r\n")
            text = whole.lstrip(WHITESPACE)
            first, column = self._taken, len(whole) - len(text) + 1
            self._read_directive(text)
            if not text or text.startswith("#"):
                continue
            logical = self._join_continuations(text)
            try:
                node = node_from_line(logical, self._escape)
                heredocs = tuple(self._heredocs(node, logical, first))
            except (LineError, ExpansionError) as error:
                raise self._error(str(error), first, self._taken) from None
            yield replace(node, heredocs=heredocs, line=first, end_line=self._taken, column=column)

    def _read_directive(self, line: str) -> None:
        """`# escape=`, `# syntax=` and `# check=`: only before anything else, each once."""
        match = _DIRECTIVE.match(line) if self._may_be_directive else None
        name = match[1].lower() if match else ""
        if match is None or name not in _DIRECTIVES:
            self._may_be_directive = False
            return
        if name in self._directives:
            raise self._error(f"only one {name} parser directive can be used", self._taken)
        self._directives[name] = match[2]
        if name == "escape":
            if match[2] not in ("\\", "`"):
                raise self._error(f"invalid escape token '{match[2]}' does not match ` or \\", self._taken)
            self._escape = match[2]

    def _join_continuations(self, text: str) -> str:
        text, continues = self._strip_continuation(text)
        has_empty_line = False
        while continues and self._taken < len(self._lines):
            line = self._take().rstrip("\r\n")
            stripped = line.lstrip(WHITESPACE)
            if stripped.startswith("#"):
                continue
            if not stripped:
                has_empty_line = True
                continue
            line, continues = self._strip_continuation(line)
            text += line
        if has_empty_line:
            self._warnings.append(f"[WARNING]: Empty continuation line found in:\n    {text}")
        return text

    def _strip_continuation(self, line: str) -> tuple[str, bool]:
        """The line without its final escape character, and whether it had one; two are no continuation."""
        stripped = line.rstrip("\t ")
        if stripped.endswith(self._escape) and not stripped.endswith(self._escape * 2):
            return stripped[:-1], True
        return line, False

    def _heredocs(self, node: Node, logical: str, first: int) -> Iterator[Heredoc]:
        inner = node.trigger or node
        if inner.name not in _WITH_HEREDOC or inner.is_json:
            return
        try:
            found = expand_words(logical, {}, keep_quotes=True, keep_escapes=True, keep_unset=True)
        except ExpansionError:
            return
        opened = [heredoc for word in found if (heredoc := parse_heredoc(word))]
        for heredoc in opened:
            yield replace(heredoc, content=self._heredoc_content(heredoc, first))

    def _heredoc_content(self, heredoc: Heredoc, first: int) -> str:
        content: list[str] = []
        while self._taken < len(self._lines):
            line = self._take()
            candidate = line.rstrip("\r\n")
            if (candidate.lstrip("\t") if heredoc.chomp else candidate) == heredoc.name:
                return "".join(content)
            content.append(line)
        raise self._error("unterminated heredoc", first, self._taken)
