"""Variables and quotes in a Dockerfile's words: `$name`, `${name:-word}`, `${name#glob}`, `${name/a/b}`.

Source: docs.docker.com/reference/dockerfile "Environment replacement", which follows POSIX shell parameter
expansion (pubs.opengroup.org, XCU 2.6.2) without command substitution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from labkernel.engine.build.quoting import quote

# What Go's unicode.IsSpace accepts. Python's str.isspace also takes \x1c-\x1f, the official parser does not.
WHITESPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
    "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)

_SPECIAL_PARAMETERS = "@*#?-$!0"
_DEEPEST = 50  # braces in braces


class ExpansionError(ValueError):
    """A word that cannot be expanded; the text is Docker's."""


def expand(
    word: str, variables: Mapping[str, str], *, escape: str = "\\", quotes_are_text: bool = False
) -> str:
    """The word with its variables replaced and its quotes removed. Raises ExpansionError.

    `quotes_are_text` is for here-documents, in which quotes mean nothing.
    """
    return _Lexer(word, variables, escape, quotes_are_text=quotes_are_text).run()[0]


def expand_words(
    word: str,
    variables: Mapping[str, str],
    *,
    escape: str = "\\",
    keep_quotes: bool = False,
    keep_escapes: bool = False,
    keep_unset: bool = False,
) -> list[str]:
    """As `expand`, then split at unquoted spaces, those that came out of variables included.

    `keep_unset` leaves a variable without a value as it is written, `keep_quotes` and `keep_escapes` leave
    quotes and escape characters in the result.
    """
    return _Lexer(word, variables, escape, keep_quotes, keep_escapes, keep_unset).run()[1]


@dataclass
class _Words:
    """The result so far, as one text and as words."""

    text: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    word: str = ""

    def add(self, characters: str) -> None:
        """Text in which spaces part words."""
        self.text.append(characters)
        for character in characters:
            if character in WHITESPACE:
                self._end_word()
            else:
                self.word += character

    def add_raw(self, characters: str) -> None:
        """Quoted text, in which they do not."""
        self.text.append(characters)
        self.word += characters

    def _end_word(self) -> None:
        if self.word:
            self.words.append(self.word)
            self.word = ""

    def finish(self) -> tuple[str, list[str]]:
        self._end_word()
        return "".join(self.text), self.words


class _Lexer:
    def __init__(
        self,
        source: str,
        variables: Mapping[str, str],
        escape: str,
        keep_quotes: bool = False,
        keep_escapes: bool = False,
        keep_unset: bool = False,
        quotes_are_text: bool = False,
    ) -> None:
        self._source = source
        self._variables = variables
        self._escape = escape
        self._keep_quotes = keep_quotes
        self._keep_escapes = keep_escapes
        self._keep_unset = keep_unset
        self._quotes = "" if quotes_are_text else "'\""
        self._position = 0
        self._depth = 0

    def run(self) -> tuple[str, list[str]]:
        try:
            return self._until("", self._keep_escapes)
        except ExpansionError as error:
            raise ExpansionError(f"failed to process {quote(self._source)}: {error}") from None

    def _peek(self) -> str:
        """The next character; "" at the end."""
        return self._source[self._position : self._position + 1]

    def _next(self) -> str:
        character = self._peek()
        self._position += len(character)
        return character

    def _until(self, stop: str, keep_escapes: bool) -> tuple[str, list[str]]:
        outer, self._keep_escapes = self._keep_escapes, keep_escapes
        self._depth += 1
        try:
            if self._depth > _DEEPEST:
                raise ExpansionError(f"more than {_DEEPEST} substitutions in one another")
            return self._collect(stop).finish()
        finally:
            self._depth -= 1
            self._keep_escapes = outer

    def _collect(self, stop: str) -> _Words:
        result = _Words()
        while character := self._peek():
            if stop and character == stop:
                self._next()
                return result
            if character in self._quotes:
                result.add_raw(self._single_quoted() if character == "'" else self._double_quoted())
            elif character == "$":
                result.add(self._dollar())
            elif character == self._escape:
                self._next()
                if self._keep_escapes:
                    result.add_raw(character)
                if escaped := self._next():
                    result.add_raw(escaped)
            else:
                result.add(self._next())
        if stop:
            raise ExpansionError(f"unexpected end of statement while looking for matching {stop}")
        return result

    def _single_quoted(self) -> str:
        start = self._position
        end = self._source.find("'", start + 1)
        if end < 0:
            self._position = len(self._source)
            raise ExpansionError("unexpected end of statement while looking for matching single-quote")
        self._position = end + 1
        return self._source[start : end + 1] if self._keep_quotes else self._source[start + 1 : end]

    def _double_quoted(self) -> str:
        mark = self._next() if self._keep_quotes else self._next()[1:]
        result = [mark]
        while character := self._peek():
            if character == '"':
                self._next()
                return "".join(result) + mark
            if character == "$":
                result.append(self._dollar())
                continue
            self._next()
            if character == self._escape:
                if self._keep_escapes:
                    result.append(character)
                following = self._peek()
                if not following:
                    continue
                # Inside double quotes only these can be escaped; before others the escape character stays.
                if following in '"$' + self._escape:
                    character = self._next()
            result.append(character)
        raise ExpansionError("unexpected end of statement while looking for matching double-quote")

    def _dollar(self) -> str:
        self._next()
        if self._peek() != "{":
            name = self._name()
            if not name:
                return "$"
            if name not in self._variables and self._keep_unset:
                return "$" + name
            return self._variables.get(name, "")
        self._next()
        if not self._peek():
            raise ExpansionError("syntax error: missing '}'")
        if self._peek() in "{}:":
            raise ExpansionError("syntax error: bad substitution")
        return self._braced(self._name())

    def _name(self) -> str:
        first = self._peek()
        if first.isdecimal():
            start = self._position
            while self._peek().isdecimal():
                self._next()
            return self._source[start : self._position]
        if first and first in _SPECIAL_PARAMETERS:
            return self._next()
        start = self._position
        while (character := self._peek()) and (
            character.isalpha() or character.isdecimal() or character == "_"
        ):
            self._next()
        return self._source[start : self._position]

    def _braced(self, name: str) -> str:
        value = self._variables.get(name)
        operator = self._next()
        if not operator:
            raise ExpansionError("syntax error: missing '}'")
        if operator == "}":
            return "${" + name + "}" if value is None and self._keep_unset else value or ""
        if operator == "/":
            return self._replace(name, value)
        modifier, empty_is_unset = operator, operator == ":"
        if empty_is_unset:
            operator = self._next()
            modifier += operator
        elif operator not in ("+", "-", "?", "#", "%"):
            raise ExpansionError(f"unsupported modifier ({operator}) in substitution")
        word = self._operand("}", operator in ("#", "%"))
        if value is None and self._keep_unset:
            return "${" + name + modifier + word + "}"
        missing = value is None or (empty_is_unset and value == "")
        if operator == "-":
            return word if missing else value or ""
        if operator == "+":
            return "" if missing else word
        if operator == "?":
            if missing:
                reason = word or f"is not allowed to be {'unset' if value is None else 'empty'}"
                raise ExpansionError(f"{name}: {reason}")
            return value or ""
        if operator in ("#", "%"):
            return _trim(value or "", word, operator)
        raise ExpansionError(f"unsupported modifier ({modifier}) in substitution")

    def _operand(self, stop: str, keep_escapes: bool) -> str:
        try:
            return self._until(stop, keep_escapes)[0]
        except ExpansionError:
            if not self._peek():
                raise ExpansionError(
                    "syntax error: missing '}'" if stop == "}" else "syntax error: missing '/' in ${}"
                ) from None
            raise

    def _replace(self, name: str, value: str | None) -> str:
        everywhere = self._peek() == "/"
        if everywhere:
            self._next()
        pattern = self._operand("/", True)
        replacement = self._operand("}", True)
        if value is None and self._keep_unset:
            return "${" + f"{name}/{pattern}/{replacement}" + "}"
        return _substitute(value or "", _glob(pattern), replacement, everywhere)


def _trim(value: str, word: str, operator: str) -> str:
    longest = word.startswith(operator)
    glob = _glob(word[1:] if longest else word)
    if operator == "%":
        ends = _match_ends(glob[::-1], value[::-1], 0)
        return value[: len(value) - (max(ends) if longest else min(ends))] if ends else value
    ends = _match_ends(glob, value, 0)
    return value[max(ends) if longest else min(ends) :] if ends else value


def _substitute(value: str, glob: list[str | None], replacement: str, everywhere: bool) -> str:
    """The longest match from the left replaced, or all of them; nothing is matched, and so put in, right
    behind a match."""
    result: list[str] = []
    position, last = 0, -1
    while position <= len(value):
        end = max(_match_ends(glob, value, position), default=-1)
        if end > position or (end == position and end != last):
            result.append(replacement)
            if not everywhere:
                return "".join(result) + value[end:]
        if end > position:
            position = last = end
        else:
            result.append(value[position : position + 1])
            position, last = position + 1, end
    return "".join(result)


def _glob(word: str) -> list[str | None]:
    """A shell pattern as its parts: a character, "" for `?`, None for `*`."""
    parts: list[str | None] = []
    characters = iter(word)
    for character in characters:
        if character == "\\":
            character = next(characters, "")
            # The escape before } and / was for the braces, not for the pattern.
            if character not in tuple("*?\\}/"):
                raise ExpansionError(
                    f"invalid pattern ({word}) in substitution: invalid escape '\\{character}'"
                )
            parts.append(character)
        elif character == "*":
            parts.append(None)
        else:
            parts.append("" if character == "?" else character)
    return parts


def _match_ends(glob: list[str | None], value: str, start: int) -> set[int]:
    """Every place where a match that begins at `start` may end; linear in both lengths, as backtracking
    is not. As in Docker, and other than in a shell, a wildcard stands for no line break."""
    places = {start}
    for part in glob:
        if not places:
            break
        if part is None:
            places = _rest_of_lines(value, places)
        else:
            places = {
                p + 1
                for p in places
                if p < len(value) and (part == value[p] or (part == "" and value[p] != "\n"))
            }
    return places


def _rest_of_lines(value: str, places: set[int]) -> set[int]:
    """The places, and those behind each up to the end of its line."""
    found: set[int] = set()
    end = -1
    for place in sorted(places):
        if place > end:
            line_break = value.find("\n", place)
            end = len(value) if line_break < 0 else line_break
            found.update(range(place, end + 1))
    return found
