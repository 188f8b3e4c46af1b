"""Learners' names from the names of what they handed in; those may be anything that a file may be called.

A name becomes a file name, a cell of a table, a line of a terminal and a word of a page. One that cannot be
all that, or that reads like another's, is given a mark made of its bytes, the same each time.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

LONGEST = 80
"""Characters of a name."""
_LONGEST_BYTES = 200
_PUNCTUATION = " ._-+@,'()"
_MARK = re.compile(r"-[0-9a-f]{16}$")


def learner_names(entries: Sequence[tuple[str, str]]) -> list[str]:
    """A name for each entry, all different, also where case does not count.

    An entry is (what the learner is called there, the file's whole name); names of files as os.listdir gives
    them.
    """
    plain = [_plain(called) for called, _ in entries]
    times = Counter(name.casefold() for name in plain)
    return [
        name
        if name == called and times[name.casefold()] == 1 and not _MARK.search(name)
        else f"{name}-{_digest(entry)}"
        for name, (called, entry) in zip(plain, entries, strict=True)
    ]


def _plain(called: str) -> str:
    """Letters, digits and a little punctuation; what is at its start is none that means something."""
    text = unicodedata.normalize("NFC", called)
    text = "".join(char if _is_harmless(char) else "_" for char in text)
    text = re.sub(r"^[^\w(]", "_", text)[:LONGEST].rstrip(" .")
    return text.encode()[:_LONGEST_BYTES].decode(errors="ignore") or "_"


def _is_harmless(char: str) -> bool:
    return char in _PUNCTUATION or unicodedata.category(char)[0] in "LMN"


def _digest(entry: str) -> str:
    return hashlib.sha256(os.fsencode(entry)).hexdigest()[:16]
