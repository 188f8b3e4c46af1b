"""apt's configuration language (apt.conf(5)), as far as fetching from an archive needs it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_TOKEN = re.compile(
    r"""
    (?P<skip> \s+ | //[^\n]* | /\*.*?\*/ | \#(?!clear|include)[^\n]* )
  | (?P<punct> [{};] )
  | "(?P<quoted> (?: [^"\\] | \\. )* )"
  | (?P<word> [^\s{};"]+ )
    """,
    re.VERBOSE | re.DOTALL,
)


class AptConf:
    """Options by full name, case-blind as in apt: `conf.get("Acquire::http::Proxy")`. A later value wins."""

    def __init__(self, values: dict[str, str] | None = None) -> None:
        self._values = values or {}

    def get(self, name: str) -> str | None:
        return self._values.get(name.lower())

    def flag(self, name: str, default: bool) -> bool:
        """A yes or no in any of the spellings apt takes."""
        value = (self.get(name) or "").lower()
        if value in ("no", "false", "without", "off", "disable", "0"):
            return False
        if value in ("yes", "true", "with", "on", "enable", "1"):
            return True
        return default


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:  # an unclosed quote: apt stops there too
            return
        position = match.end()
        if match.lastgroup != "skip" and match.lastgroup is not None:
            yield match.lastgroup, match[match.lastgroup]


def parse_apt_conf(text: str) -> dict[str, str]:
    """Values by lower-case full name. List elements (`Name:: "value";`) keep the last; nothing raises."""
    values: dict[str, str] = {}
    scopes: list[str] = []
    name = ""
    for kind, token in _tokens(text):
        if kind == "word":
            name = token.lower()
        elif kind == "quoted":
            values["::".join([*scopes, name] if name else scopes)] = token
        elif token == "{":
            scopes.append(name)
            name = ""
        elif token == "}":
            if scopes:
                scopes.pop()
            name = ""
        else:
            name = ""
    return values


def read_apt_conf(root: Path = Path("/")) -> AptConf:
    """The machine's apt configuration: apt.conf.d in order, then apt.conf. Empty where there is no apt."""
    directory = root / "etc/apt/apt.conf.d"
    files = sorted(directory.iterdir()) if directory.is_dir() else []
    # apt reads names without a suffix or ending in .conf, made of these letters only (apt.conf(5)).
    named = [file for file in files if re.fullmatch(r"[\w-]+(\.conf)?", file.name)]
    values: dict[str, str] = {}
    for file in [*named, root / "etc/apt/apt.conf"]:
        if file.is_file():
            values.update(parse_apt_conf(file.read_text(errors="replace")))
    return AptConf(values)
