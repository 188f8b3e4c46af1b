"""A slide's line, `docker run -v $(pwd):/src ...`, into words as a shell would, without a shell.

The rule: quotes, backslashes, line continuations, `#` comments, $VAR, ${VAR} and ~ work as in sh. $(...) and
`...` may hold `pwd` or another docker command (`docker commit $(docker ps -lq) name`). Everything else that
only a shell can do (pipes, redirections, ;, &&, globs are left as they are) is refused with a hint to use
`!`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping

from labkernel.commands.errors import CommandError

Nested = Callable[[list[str]], str]
"""Runs a nested docker command (its words, without `docker`) and returns what it prints."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATORS = {
    "|": "a pipe",
    ">": "a redirection",
    "<": "a redirection",
    ";": "a second command",
    "&": "a background job",
}


_SHELL_WORDS = frozenset(
    (
        "cat cd cp curl do done echo elif else env esac export fi for function grep head if kill ls mkdir mv "
        "python python3 pwd rm set sh sleep source sudo tail then touch until wget which while"
    ).split()
)


def shell_hint(word: str) -> str | None:
    """What to do about a line that begins with a shell's word instead of a docker command's."""
    if word not in _SHELL_WORDS and not re.fullmatch(r"[A-Za-z_]\w*=.*", word):
        return None
    if word == "cd":
        return "in a notebook `%cd DIRECTORY` goes there, and stays"
    return f"`{word}` is for a shell: in a notebook put ! before the line, or the lines into a %%bash cell"


def split_line(
    text: str,
    *,
    nested: Nested | None = None,
    environ: Mapping[str, str] | None = None,
    directory: str | None = None,
) -> list[str]:
    """The words of `text`, expanded. A leading `docker` is the caller's to drop.

    `nested` runs docker commands inside $(...); without it they are refused. `environ` and `directory`
    default to the process's own. Raises CommandError with a hint.
    """
    splitter = _Splitter(text, nested, os.environ if environ is None else environ, directory or _here())
    return splitter.words()


def _here() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise CommandError(
            "the directory that this runs in is gone: it was removed, or another has taken its place",
            hint="`%cd DIRECTORY` goes to one that is there; restarting the kernel goes to the notebook's",
        ) from None


class _Splitter:
    def __init__(self, text: str, nested: Nested | None, environ: Mapping[str, str], directory: str) -> None:
        self.text = text.strip()
        self.position = 0
        self.nested = nested
        self.environ = environ
        self.directory = directory

    def refuse(self, what: str, hint: str | None = None) -> CommandError:
        first = self.text.split(maxsplit=1)[0]
        return CommandError(what, where=self.text, hint=hint or shell_hint(first) or self._in_a_shell())

    def _in_a_shell(self) -> str:
        from shutil import which

        program = "docker" if which("docker") else "labkernel docker"
        return f"a shell can do this: !{program} {self.text.removeprefix('docker ')}"

    def words(self) -> list[str]:
        words: list[str] = []
        word: list[str] | None = None  # None between words: "" is a word, nothing is not
        while self.position < len(self.text):
            char = self.text[self.position]
            self.position += 1
            if char in " \t\n\r":
                if word is not None:
                    words.append("".join(word))
                    word = None
            elif char == "#" and word is None:
                end = self.text.find("\n", self.position)
                self.position = len(self.text) if end < 0 else end
            elif char == "\\":
                following = self.text[self.position : self.position + 1]
                self.position += 1
                if following != "\n":  # backslash newline joins the lines
                    word = [*(word or []), following or "\\"]
            elif char == "'":
                word = [*(word or []), self.until("'")]
            elif char == '"':
                word = [*(word or []), self.double_quoted()]
            elif (
                char == "~"
                and word is None
                and self.text[self.position : self.position + 1] in {"", "/", " ", "\n"}
            ):
                word = [self.environ.get("HOME", "~")]
            elif char == "$" or char == "`":
                value = self.expansion(char)
                pieces = value.split()
                if value[:1].isspace() and word is not None:
                    words.append("".join(word))
                    word = None
                for index, piece in enumerate(
                    pieces
                ):  # unquoted results are split at white space, as sh does
                    if index and word is not None:
                        words.append("".join(word))
                        word = None
                    word = [*(word or []), piece]
                if pieces and value[-1:].isspace() and word is not None:
                    words.append("".join(word))
                    word = None
            elif char in _OPERATORS:
                raise self.refuse(f"`{char}` is {_OPERATORS[char]}: only a shell can do that")
            else:
                word = [*(word or []), char]
        if word is not None:
            words.append("".join(word))
        return words

    def until(self, end: str) -> str:
        found = self.text.find(end, self.position)
        if found < 0:
            raise self.refuse(f"the quote {end} is never closed", hint=f"add the missing {end}")
        value = self.text[self.position : found]
        self.position = found + 1
        return value

    def double_quoted(self) -> str:
        value = ""
        while self.position < len(self.text):
            char = self.text[self.position]
            self.position += 1
            if char == '"':
                return value
            if char == "\\":
                following = self.text[self.position : self.position + 1]
                self.position += 1
                value += "" if following == "\n" else following if following in '"\\$`' else "\\" + following
            elif char in "$`":
                value += self.expansion(char)
            else:
                value += char
        raise self.refuse('the quote " is never closed', hint='add the missing "')

    def expansion(self, char: str) -> str:
        """The value of what starts with `char`, `$` or a backquote, already passed over."""
        if char == "`":
            return self.substitute(self.until("`"))
        rest = self.text[self.position :]
        if rest.startswith("(("):
            raise self.refuse("$((...)) is arithmetic: only a shell can do that")
        if rest.startswith("("):
            return self.substitute(self.parenthesised())
        if rest.startswith("{"):
            self.position += 1
            name = self.until("}")
            if not _NAME.fullmatch(name):
                raise self.refuse(f"${{{name}}}: only plain variable names can stand here")
            return self.environ.get(name, "")
        match = _NAME.match(rest)
        if not match:
            return "$"
        self.position += match.end()
        return self.environ.get(match[0], "")

    def parenthesised(self) -> str:
        start = self.position + 1
        depth = 0
        for index in range(self.position, len(self.text)):
            depth += {"(": 1, ")": -1}.get(self.text[index], 0)
            if depth == 0:
                self.position = index + 1
                return self.text[start:index]
        raise self.refuse("$( is never closed", hint="add the missing )")

    def substitute(self, command: str) -> str:
        """The output of `pwd` or of a docker command, without its final newlines."""
        words = split_line(command, nested=self.nested, environ=self.environ, directory=self.directory)
        if words == ["pwd"]:
            return self.directory
        if words[:1] == ["docker"] and self.nested:
            return self.nested(words[1:]).rstrip("\n")
        raise self.refuse(f"$({command}): only pwd and docker commands can stand inside $(...) and `...`")
