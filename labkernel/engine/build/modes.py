"""`--chmod`: an octal mode, or a symbolic one that changes each file's own.

Source: pubs.opengroup.org, XCU chmod, "mode" operand; docs.docker.com/reference/dockerfile "COPY --chmod".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from labkernel.engine.errors import InvalidParameter

#: A file's mode and whether it is a directory -> its new mode.
ModeChange = Callable[[int, bool], int]

_CLAUSE = re.compile(r"([ugoa]*)((?:[+\-=][rwxXst]*|[+\-=][ugo])+)")
_ACTION = re.compile(r"([+\-=])([ugo]|[rwxXst]*)")
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}


def mode_change(text: str) -> ModeChange:
    """Raises InvalidParameter."""
    if re.fullmatch(r"[0-7]{1,4}", text):
        octal = int(text, 8)
        return lambda mode, is_directory: octal
    clauses: list[tuple[str, list[tuple[str, str]]]] = []
    for clause in text.split(","):
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            raise InvalidParameter(
                f"invalid chmod flag {text}", hint="write the mode in octal, 755, or in letters, u=rwX,go=rX"
            )
        clauses.append((match[1].replace("a", "ugo") or "ugo", _ACTION.findall(match[2])))
    return partial(_changed, clauses)


def _changed(clauses: list[tuple[str, list[tuple[str, str]]]], mode: int, is_directory: bool) -> int:
    for who, actions in clauses:
        for operator, letters in actions:
            bits = _wanted(who, letters, mode, is_directory)
            if operator == "+":
                mode |= bits
            elif operator == "-":
                mode &= ~bits
            else:
                cleared = sum(7 << _SHIFTS[one] for one in dict.fromkeys(who)) | 0o1000 * ("o" in who)
                if not is_directory:  # whose bits for the owners of new files stay
                    cleared |= 0o4000 * ("u" in who) | 0o2000 * ("g" in who)
                mode = mode & ~cleared | bits
    return mode


def _wanted(who: str, letters: str, mode: int, is_directory: bool) -> int:
    if letters and letters in "ugo":
        permissions = mode >> _SHIFTS[letters] & 7
    else:
        permissions = 0
        for letter in letters:
            permissions |= _BITS.get(letter, 0)
        if "X" in letters and (is_directory or mode & 0o111):
            permissions |= 1
    bits = 0
    for one in who:
        bits |= permissions << _SHIFTS[one]
    if "s" in letters:
        bits |= 0o4000 * ("u" in who) | 0o2000 * ("g" in who)
    return bits | 0o1000 * ("t" in letters and "o" in who)
