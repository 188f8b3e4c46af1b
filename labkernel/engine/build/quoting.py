"""Text as Go prints it: image histories and several messages hold what `%q` and `%v` made of a value.

Source: pkg.go.dev/fmt and pkg.go.dev/strconv#Quote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_ESCAPES: Mapping[str, str] = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    "\\": r"\\",
}


def _escape(character: str, quote: str) -> str:
    if character == quote:
        return "\\" + quote
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character == " " or character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quote(text: str) -> str:
    """`%q` of a string."""
    return '"' + "".join(_escape(c, '"') for c in text) + '"'


def quote_list(words: Iterable[str]) -> str:
    """`%q` of a list of strings: `["a" "b c"]`."""
    return "[" + " ".join(quote(word) for word in words) + "]"


def quote_number(number: int) -> str:
    """`%q` of an integer: a character literal."""
    return "'" + _escape(chr(number), "'") + "'"


def plain_list(words: Iterable[str]) -> str:
    """`%v` of a list of strings: `[a b c]`."""
    return "[" + " ".join(words) + "]"
