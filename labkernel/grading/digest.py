"""What a result was made from, as one word: when that changes, so does the word."""

from __future__ import annotations

import hashlib

_FORM = 2
"""Changes with what makes earlier results wrong: then all is graded again."""


def digest(*parts: bytes) -> str:
    """Of what a result is made from."""
    whole = hashlib.sha256(str(_FORM).encode())
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()
